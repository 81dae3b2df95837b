// Cut, pad and resize a picture exactly as fastai and Pillow do. A canvas would differ by tens of levels: it skips
// pixels when it makes a picture much smaller, and Pillow averages all of them.
const BITS = 22; // Pillow keeps weights as whole numbers of 2**-22
const STRIP = 64; // Rows read at once: few calls, little memory
const TALL = 100; // Pillow lowers pictures this many times as high as wide before it changes their width
const OUTSIDE = -1; // A pixel that no pixel of the picture fills
// The part of the picture that is resized; it reaches outside of the picture where the method is "pad".
export function boxFor(width, height, { method, size }) {
    if (method === "squish")
        return { left: 0, top: 0, width, height };
    const across = width / size[1], down = height / size[0];
    const factor = method === "crop" ? Math.min(across, down) : Math.max(across, down);
    const box = { width: Math.max(Math.trunc(factor * size[1]), 1), height: Math.max(Math.trunc(factor * size[0]), 1) };
    return { left: Math.trunc((width - box.width) / 2), top: Math.trunc((height - box.height) / 2), ...box };
}
// For each position of the box along one axis, the pixel of the picture that stands there.
export function positions(length, start, count, mode) {
    const period = Math.max(2 * (length - 1), 1);
    return Int32Array.from({ length: count }, (_, index) => {
        const at = start + index;
        if (at >= 0 && at < length)
            return at;
        if (mode === "zeros")
            return OUTSIDE;
        if (mode === "border" || length === 1)
            return Math.min(Math.max(at, 0), length - 1);
        const turn = ((at % period) + period) % period;
        return turn < length ? turn : period - turn;
    });
}
// The weight of each input pixel in each output pixel: a triangle as wide as the picture shrinks.
export function weightsFor(input, output) {
    const scale = input / output, reach = Math.max(scale, 1);
    const most = Math.ceil(reach) * 2 + 1;
    const weights = { first: new Int32Array(output), count: new Int32Array(output), values: new Int32Array(output * most), most };
    for (let out = 0; out < output; out++) {
        const centre = (out + 0.5) * scale;
        const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
        const count = Math.min(Math.trunc(centre + reach + 0.5), input) - first;
        const triangle = Array.from({ length: count }, (_, i) => Math.max(1 - Math.abs((i + first - centre + 0.5) * (1 / reach)), 0));
        const total = triangle.reduce((sum, weight) => sum + weight, 0);
        weights.first[out] = first;
        weights.count[out] = count;
        triangle.forEach((weight, i) => { weights.values[out * most + i] = Math.trunc(weight / total * 2 ** BITS + 0.5); });
    }
    return weights;
}
// One row of RGBA becomes one row of RGB of another width.
function resizeRow(rgba, start, columns, { first, count, values, most }, row) {
    for (let out = 0; out < first.length; out++) {
        let red = 1 << (BITS - 1), green = red, blue = red;
        for (let i = 0; i < count[out]; i++) {
            const column = columns[first[out] + i], weight = values[out * most + i];
            if (column === OUTSIDE)
                continue;
            const at = start + 4 * column;
            red += rgba[at] * weight;
            green += rgba[at + 1] * weight;
            blue += rgba[at + 2] * weight;
        }
        row[3 * out] = red >> BITS;
        row[3 * out + 1] = green >> BITS;
        row[3 * out + 2] = blue >> BITS;
    }
}
// The rows of the picture that the box needs, each in its new width: {row: RGB}.
function resizeAcross(picture, columns, rows, weights) {
    const inside = rows.filter(row => row !== OUTSIDE);
    const start = inside.reduce((least, row) => Math.min(least, row)), end = 1 + inside.reduce((most, row) => Math.max(most, row));
    const resized = new Map();
    for (let top = start; top < end; top += STRIP) {
        const count = Math.min(STRIP, end - top), rgba = picture.rows(top, count);
        for (let i = 0; i < count; i++) {
            const row = new Uint8Array(3 * weights.first.length);
            resizeRow(rgba, 4 * picture.width * i, columns, weights, row);
            resized.set(top + i, row);
        }
    }
    return resized;
}
// Those rows become the rows of the result.
function resizeDown(narrow, rows, { first, count, values, most }, width) {
    const result = new Uint8Array(3 * width * first.length), sums = new Int32Array(3 * width);
    for (let out = 0; out < first.length; out++) {
        sums.fill(1 << (BITS - 1));
        for (let i = 0; i < count[out]; i++) {
            const row = narrow.get(rows[first[out] + i]), weight = values[out * most + i];
            if (row)
                for (let at = 0; at < sums.length; at++)
                    sums[at] += row[at] * weight;
        }
        for (let at = 0; at < sums.length; at++)
            result[3 * width * out + at] = sums[at] >> BITS;
    }
    return result;
}
// Both passes: across first, as Pillow does.
function resizeBox(picture, columns, rows, width, height) {
    const narrow = resizeAcross(picture, columns, rows, weightsFor(columns.length, width));
    return resizeDown(narrow, rows, weightsFor(rows.length, height), width);
}
function pictureOf(rgb, width, height) {
    const rows = (first, count) => {
        const rgba = new Uint8ClampedArray(4 * width * count).fill(255);
        for (let i = 0; i < width * count; i++)
            rgba.set(rgb.subarray(3 * (width * first + i), 3 * (width * first + i + 1)), 4 * i);
        return rgba;
    };
    return { width, height, rows };
}
// What the model is given: red, green, blue of each pixel, row by row.
export function resizePicture(picture, preprocess) {
    const box = boxFor(picture.width, picture.height, preprocess), [height, width] = preprocess.size;
    const columns = positions(picture.width, box.left, box.width, preprocess.pad_mode);
    const rows = positions(picture.height, box.top, box.height, preprocess.pad_mode);
    if (box.height <= TALL * box.width || height >= box.height)
        return resizeBox(picture, columns, rows, width, height);
    const low = pictureOf(resizeBox(picture, columns, rows, box.width, height), box.width, height);
    return resizeBox(low, Int32Array.from(columns.keys()), Int32Array.from({ length: height }, (_, row) => row), width, height);
}
