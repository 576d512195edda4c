// In units of the first-order bound of rounding (ops/moments.ts): sums of up to 1280 channels over at least four accumulators
// err by about one such unit (0.5 seen); 8 leaves room for a GPU's inverseSqrt. f16: one store, a whole ulp at worst.
export const tolerance = { f32: 8, f16: 1.25 }
