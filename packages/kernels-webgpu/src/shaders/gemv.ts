import { BIAS, dot4, fourCodes, header, PARAMS, tables, wordsPerCode, type ShaderVariant } from './common.js'

/** Threads of a workgroup; a subgroup may be smaller or larger than this. */
export const GEMV_THREADS = 64

/**
 * One workgroup a result: int8 activations × integer codes. `lanes` threads share a group, their integer sums are added
 * exactly; then the groups' floats are added, over subgroups where there are any.
 */
export function gemv(kind: 2 | 4 | 8, paths: ShaderVariant): string {
  const parts = wordsPerCode(kind)
  return /* wgsl */ `${header(paths)}${PARAMS}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
${tables(paths)}
@group(0) @binding(4) var<storage, read> act: array<u32>;
@group(0) @binding(5) var<storage, read> sums: array<i32>;
@group(0) @binding(6) var<storage, read> actScales: array<f32>;
@group(0) @binding(7) var<storage, read> bias: array<f32>;
@group(0) @binding(8) var<storage, read_write> result: array<f32>;
var<workgroup> partSums: array<i32, ${GEMV_THREADS}>;
var<workgroup> partResults: array<f32, ${GEMV_THREADS}>;
${dot4(paths)}
${BIAS}
${fourCodes(kind)}
@compute @workgroup_size(${GEMV_THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) t: u32${paths.subgroups ? ', @builtin(subgroup_invocation_id) lane: u32' : ''}) {
  let n = id.x + id.y * count.x;
  let m = id.z;
  let inside = n < p.n;
  let together = ${GEMV_THREADS}u / p.lanes;
  var y = 0.0;
  for (var first = 0u; first < p.groups; first += together) {
    let g = first + t / p.lanes;
    var d = 0i;
    if (inside && g < p.groups) {
      let w = (n * p.groups + g) * p.codeWords;
      let a = (m * p.groups + g) * p.actWords;
      for (var i = t % p.lanes; i < p.codeWords; i += p.lanes) {
        let word = codes[w + i];
        for (var part = 0u; part < ${parts}u; part++) { d += dot4(act[a + i * ${parts}u + part], fourCodes(word, part)); }
      }
    }
    partSums[t] = d;
    workgroupBarrier();
    if (inside && g < p.groups && t % p.lanes == 0u) {
      let sum = sums[m * p.groups + g];
      d = -p.offset * sum;
      for (var i = 0u; i < p.lanes; i++) { d += partSums[t + i]; }
      var term = f32(d);
      let at = n * p.groups + g;
      if (p.hasZeros != 0u) { term += zeroOf(at) * f32(sum); }
      y += term * scaleOf(at);
    }
    workgroupBarrier();
  }
${paths.subgroups
    ? `  // which thread is in which subgroup is the device's choice: the first lane of each leaves its sum in its own place
  y = subgroupAdd(y);
  partResults[t] = select(0.0, y, lane == 0u);
  workgroupBarrier();
  if (t == 0u && inside) {
    var total = 0.0;
    for (var i = 0u; i < ${GEMV_THREADS}u; i++) { total += partResults[i]; }
    result[m * p.n + n] = withBias(total * actScales[m], n);
  }`
    : `  partResults[t] = y;
  for (var half = ${GEMV_THREADS / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (t < half) { partResults[t] += partResults[t + half]; }
  }
  if (t == 0u && inside) { result[m * p.n + n] = withBias(partResults[0] * actScales[m], n); }`}
}
`
}
