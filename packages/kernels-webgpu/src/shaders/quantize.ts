import { PARAMS } from './common.js'

/** Threads of a workgroup. */
export const QUANTIZE_THREADS = 64

/**
 * Float activations that are on the device to int8 codes in padded groups: one workgroup a row. WGSL divides to 2.5 units in
 * the last place, so a value that lies that close to the middle of two codes may get the other one than on the host.
 */
export const QUANTIZE = /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> act: array<u32>;
@group(0) @binding(3) var<storage, read_write> sums: array<i32>;
@group(0) @binding(4) var<storage, read_write> actScales: array<f32>;
var<workgroup> tops: array<f32, ${QUANTIZE_THREADS}>;
@compute @workgroup_size(${QUANTIZE_THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) t: u32) {
  let m = id.x;
  var top = 0.0;
  for (var k = t; k < p.columns; k += ${QUANTIZE_THREADS}u) { top = max(top, abs(x[m * p.columns + k])); }
  tops[t] = top;
  for (var half = ${QUANTIZE_THREADS / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (t < half) { tops[t] = max(tops[t], tops[t + half]); }
  }
  workgroupBarrier();
  let absmax = max(tops[0], 0x1p-100f);
  let inverse = 127.0 / absmax;
  if (t == 0u) { actScales[m] = absmax / 127.0; }
  for (var g = t; g < p.groups; g += ${QUANTIZE_THREADS}u) {
    let count = min(p.used, p.columns - g * p.used);
    var sum = 0i;
    for (var i = 0u; i < p.actWords; i++) {
      var word = 0u;
      for (var j = 0u; j < 4u; j++) {
        let k = 4u * i + j;
        if (k < count) {
          let code = clamp(i32(round(x[m * p.columns + g * p.used + k] * inverse)), -127i, 127i);
          sum += code;
          word = insertBits(word, bitcast<u32>(code), 8u * j, 8u);
        }
      }
      act[(m * p.groups + g) * p.actWords + i] = word;
    }
    sums[m * p.groups + g] = sum;
  }
}
`
