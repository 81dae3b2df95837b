// A photograph from the camera. A phone brings its own camera app through the file input; here is one for computers.
const REASONS = {
    NotAllowedError: "The browser may not use the camera. Allow it in the address bar, and try again.",
    NotFoundError: "No camera was found.",
    NotReadableError: "The camera is in use by another program.",
};
export function explain(error) {
    return REASONS[error.name] ?? `The camera cannot be used (${error.message}).`;
}
export function cameraThere() {
    return Boolean(navigator.mediaDevices?.getUserMedia) && typeof HTMLDialogElement === "function";
}
async function still(video) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    return new Promise((done, failed) => canvas.toBlob(blob => blob ? done(blob) : failed(new Error("no picture came")), "image/png"));
}
// Show what the camera sees until the visitor takes a picture (the picture) or closes the dialog (null).
export async function photograph(dialog) {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    const video = dialog.querySelector("video");
    try {
        video.srcObject = stream;
        dialog.returnValue = "";
        // Listens before the video runs, since the dialog may be closed by then
        const closed = new Promise(done => dialog.addEventListener("close", done, { once: true }));
        dialog.showModal();
        await video.play();
        await closed;
        return dialog.returnValue === "take" ? await still(video) : null;
    }
    finally {
        stream.getTracks().forEach(track => track.stop());
        video.srcObject = null;
        if (dialog.open)
            dialog.close();
    }
}
