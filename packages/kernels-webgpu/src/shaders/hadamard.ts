export const HADAMARD_THREADS = 64

/** One stage of the fast Walsh-Hadamard transform, in place: a thread takes one pair at distance `half`. */
export const HADAMARD = /* wgsl */ `
struct Stage { pairs: u32, half: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Stage;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(${HADAMARD_THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (id.x + id.y * count.x) * ${HADAMARD_THREADS}u + t;
  if (i >= p.pairs) { return; }
  let at = i / p.half * 2u * p.half + i % p.half;
  let a = x[at];
  let b = x[at + p.half];
  x[at] = (a + b) * p.scale;
  x[at + p.half] = (a - b) * p.scale;
}
`
