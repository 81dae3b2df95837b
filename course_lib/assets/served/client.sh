#!/bin/sh
# Ask the Gradio app with curl: sh client.sh PICTURE [ADDRESS]
# Three steps: upload the file, start the prediction with the path that the server gave, read the answer as it comes.
set -e
api="${2:-http://127.0.0.1:7860}/gradio_api"
path=$(curl -sS --fail-with-body -F "files=@$1" "$api/upload" | sed 's/^\["//; s/"]$//')
call=$(curl -sS --fail-with-body -H "Content-Type: application/json" "$api/call/predict" \
    -d "{\"data\": [{\"path\": \"$path\", \"meta\": {\"_type\": \"gradio.FileData\"}}]}" | sed 's/.*"event_id" *: *"//; s/".*//')
curl -sS -N --fail-with-body "$api/call/predict/$call"
