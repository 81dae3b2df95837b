// Ridge regression in closed form: small weights that bring features near to targets, found at once and without training.

export interface Head {
  weights: Float64Array[]; // A row for each class
  intercepts: number[];
  alone: number[][]; // For each picture, what a head that was fitted to all the others says of it (leave-one-out)
}

type Rows = ArrayLike<number>[];

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// The lower triangle L of a symmetric positive matrix: L times its own transpose is the matrix (Cholesky).
function lowerTriangle(matrix: Float64Array[]): Float64Array[] {
  const lower = matrix.map(row => new Float64Array(row.length));
  matrix.forEach((row, i) => {
    for (let j = 0; j <= i; j++) {
      let rest = row[j];
      for (let k = 0; k < j; k++) rest -= lower[i][k] * lower[j][k];
      lower[i][j] = i === j ? Math.sqrt(rest) : rest / lower[j][j];
    }
  });
  return lower;
}

function inverse(matrix: Float64Array[]): Float64Array[] {
  const size = matrix.length, lower = lowerTriangle(matrix);
  return matrix.map((_, column) => {
    const x = new Float64Array(size);
    x[column] = 1;
    for (let i = 0; i < size; i++) x[i] = (x[i] - dot(lower[i].subarray(0, i), x)) / lower[i][i];
    for (let i = size - 1; i >= 0; i--) {
      for (let k = i + 1; k < size; k++) x[i] -= lower[k][i] * x[k];
      x[i] /= lower[i][i];
    }
    return x;
  });
}

function centred(features: Rows): { mean: Float64Array; rows: Float64Array[] } {
  const mean = new Float64Array(features[0].length);
  for (const row of features) for (let i = 0; i < mean.length; i++) mean[i] += row[i] / features.length;
  return { mean, rows: features.map(row => Float64Array.from(row, (value, i) => value - mean[i])) };
}

// A tenth of how far the pictures lie from their mean: tried on breeds of pets, and independent of the scale of the features.
export function usualAlpha(features: Rows): number {
  const { rows } = centred(features);
  return Math.max(0.1 * rows.reduce((sum, row) => sum + dot(row, row), 0) / rows.length, 1e-6);
}

// There are far more features than pictures, so the equations are solved for the pictures: a small matrix, and the same weights.
export function fitHead(features: Rows, labels: number[], classes: number, alpha = usualAlpha(features)): Head {
  const { mean, rows } = centred(features), count = rows.length;
  const shares = Array.from({ length: classes }, (_, wanted) => labels.filter(label => label === wanted).length / count);
  const target = (i: number, wanted: number) => Number(labels[i] === wanted);
  const inverted = inverse(rows.map((a, i) => Float64Array.from(rows, (b, j) => dot(a, b) + (i === j ? alpha : 0))));
  const duals = shares.map((share, wanted) => inverted.map(row => dot(row, labels.map((_, i) => target(i, wanted) - share))));
  const weights = duals.map(dual => mean.map((_, feature) => rows.reduce((sum, row, i) => sum + dual[i] * row[feature], 0)));
  const alone = rows.map((_, i) => duals.map((dual, wanted) => target(i, wanted) - alpha * dual[i] / (alpha * inverted[i][i] - 1 / count)));
  return { weights, alone, intercepts: weights.map((row, wanted) => shares[wanted] - dot(row, mean)) };
}

// One number for each class, near 1 for its own pictures and near 0 for the others; together they make 1.
export function scores(features: ArrayLike<number>, { weights, intercepts }: Head): number[] {
  return weights.map((row, wanted) => dot(row, features) + intercepts[wanted]);
}

export function largest(values: number[]): number { return values.indexOf(Math.max(...values)); }
