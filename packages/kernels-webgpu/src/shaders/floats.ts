import { BIAS, fourCodes, header, PARAMS, tables, wordsPerCode, type Kind, type ShaderVariant } from './common.js'

/** Threads of a workgroup. */
export const FLOAT_THREADS = 64

/** `weight(n, k)`: a code as the float it stands for, or the float itself. */
function weight(kind: Kind): string {
  if (kind === 32) return 'fn weight(n: u32, k: u32) -> f32 { return bitcast<f32>(codes[n * p.columns + k]); }'
  const parts = wordsPerCode(kind)
  return `${fourCodes(kind)}
fn weight(n: u32, k: u32) -> f32 {
  let g = k / p.used;
  let inGroup = k % p.used;
  let word = inGroup / 4u;
  let four = fourCodes(codes[(n * p.groups + g) * p.codeWords + word / ${parts}u], word % ${parts}u);
  let code = extractBits(bitcast<i32>(four), 8u * (inGroup % 4u), 8u) - p.offset;
  let at = n * p.groups + g;
  var value = f32(code);
  if (p.hasZeros != 0u) { value += zeroOf(at); }
  return value * scaleOf(at);
}`
}

function bindings(kind: Kind, variant: ShaderVariant): string {
  return /* wgsl */ `${header({ ...variant, dot4: false, subgroups: false })}${PARAMS}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
${tables(variant)}
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;
${weight(kind)}
`
}

/** Float activations × codes or floats: one workgroup a result, summed in float32. */
export function floats(kind: Kind, variant: ShaderVariant): string {
  return /* wgsl */ `${bindings(kind, variant)}${BIAS}
var<workgroup> parts: array<f32, ${FLOAT_THREADS}>;
@compute @workgroup_size(${FLOAT_THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) t: u32) {
  let n = id.x + id.y * count.x;
  let m = id.z;
  var y = 0.0;
  if (n < p.n) { for (var k = t; k < p.columns; k += ${FLOAT_THREADS}u) { y += x[m * p.columns + k] * weight(n, k); } }
  parts[t] = y;
  for (var half = ${FLOAT_THREADS / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (t < half) { parts[t] += parts[t + half]; }
  }
  if (t == 0u && n < p.n) { result[m * p.n + n] = withBias(parts[0], n); }
}
`
}

/** The values that packed weights stand for. */
export function dequantize(kind: Kind, variant: ShaderVariant): string {
  return /* wgsl */ `${bindings(kind, variant)}@compute @workgroup_size(${FLOAT_THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) t: u32) {
  let n = id.x + id.y * count.x;
  if (n < p.n) { for (var k = t; k < p.columns; k += ${FLOAT_THREADS}u) { result[n * p.columns + k] = weight(n, k); } }
}
`
}
