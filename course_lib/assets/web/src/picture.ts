// From a file to pixels: upright, on a plain background, or a clear sentence about why not.
import type { Picture, Preprocess } from "./resize.js";

export class BadPicture extends Error {}

export const MOST_BYTES = 100e6;
export const MOST_PIXELS = 90e6;

export interface Decoded extends Picture {
  thumbnail(longest: number): HTMLCanvasElement;
  close(): void;
}

function canvasOf(width: number, height: number, background: string): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (!context) throw new BadPicture("This browser has no memory left for pictures. Close some tabs and try again.");
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  return [canvas, context];
}

// Pixels of a bitmap, read some rows at a time: a canvas as large as a photograph is more than some phones allow.
function withRows(bitmap: ImageBitmap, preprocess: Preprocess): Decoded {
  const { width, height } = bitmap, background = `rgb(${preprocess.background.join(" ")})`;
  return {
    width, height,
    rows(first, count) {
      const [, context] = canvasOf(width, count, background);
      context.drawImage(bitmap, 0, first, width, count, 0, 0, width, count);
      return context.getImageData(0, 0, width, count).data;
    },
    thumbnail(longest) {
      const factor = Math.min(longest / Math.max(width, height), 1);
      const [canvas, context] = canvasOf(Math.max(Math.round(width * factor), 1), Math.max(Math.round(height * factor), 1), background);
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      return canvas;
    },
    close() { bitmap.close(); },
  };
}

// Width and height of a picture, which a browser reads without decoding it: a small file can hold a picture that fills all memory.
async function sizeOf(file: Blob): Promise<[number, number]> {
  const image = new Image(), url = URL.createObjectURL(file);
  try {
    image.src = url;
    await new Promise((done, failed) => { image.onload = done; image.onerror = failed; });
    return [image.naturalWidth, image.naturalHeight];
  } finally { URL.revokeObjectURL(url); }
}

const million = (count: number) => `${Math.round(count / 1e6)} million`;

async function checkSize(file: Blob): Promise<void> {
  if (file.size === 0) throw new BadPicture("The file is empty.");
  if (file.size > MOST_BYTES) throw new BadPicture(`The file has ${million(file.size)} bytes; the most is ${million(MOST_BYTES)}. Save the picture smaller.`);
  if (file.type === "image/svg+xml") throw new BadPicture("This is a drawing (SVG), not a photograph. Save it as PNG or JPEG.");
  const [width, height] = await sizeOf(file).catch(() => { throw new BadPicture(`This is no picture that your browser can read, or one too large for it. ${advice(file)}`); });
  if (width * height > MOST_PIXELS) throw new BadPicture(`The picture has ${million(width * height)} pixels; the most is ${million(MOST_PIXELS)}. Save it smaller.`);
}

function advice(file: Blob): string {
  const heic = /hei[cf]/i.test(`${file.type} ${file instanceof File ? file.name : ""}`);
  return heic ? "Phones save HEIC; share or export it as JPEG." : "JPEG, PNG, WebP and GIF work.";
}

export async function decode(file: Blob, preprocess: Preprocess): Promise<Decoded> {
  await checkSize(file);
  const options: ImageBitmapOptions = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => { throw new BadPicture(`The picture is damaged, or your browser cannot read it. ${advice(file)}`); });
  return withRows(bitmap, preprocess);
}
