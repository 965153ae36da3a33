import { quantizeRange } from './activations'
import * as Cache from './cache'
import { embedRow } from './embed'
import { gelu, relu2, silu, tanh, total } from './math'
import * as Step from './step'

/**
 * Steps that work on each row by itself. `at`: the words of a run (see `program.ts`): first position, rows, wanted rows, tokens.
 * Returns 0, or 1 + a row whose values are not finite where they must be. `scratch`: 64 bytes.
 */
export function runRows(step: usize, start: i32, skip: i32, tokens: usize, from: i32, to: i32, scratch: usize): i32 {
  const op = Step.word(step, Step.OP)
  if (op == Step.QUANTIZE) return quantizeRange(Step.pointer(step, Step.P1), from, to, scratch)
  const width = Step.word(step, Step.WIDTH)
  for (let row = from; row < to; row++) {
    const a = Step.pointer(step, Step.A) + <usize>row * Step.pointer(step, Step.A_STRIDE)
    const b = Step.pointer(step, Step.B) + <usize>row * Step.pointer(step, Step.B_STRIDE)
    const y = Step.pointer(step, Step.TO) + <usize>row * Step.pointer(step, Step.TO_STRIDE)
    switch (op) {
      case Step.EMBED:
        embedRow(Step.pointer(step, Step.P1), load<i32>(tokens + (<usize>row << 2)), load<f32>(step + Step.F1), y)
        break
      case Step.NORM:
        norm(step, a, y, width, scratch)
        break
      case Step.ROPE:
        rope(step, a, width, start + row)
        break
      case Step.APPEND:
        if (Cache.append(Step.pointer(step, Step.P1), start + row, a, b)) return row + 1
        break
      case Step.GATE:
        gate(Step.word(step, Step.N1), a, b, y, width)
        break
      case Step.ADD:
        // buffers are padded to vectors
        for (let i = 0; i < width; i += 4) {
          const at = <usize>i << 2
          v128.store(y + at, f32x4.add(v128.load(a + at), v128.load(b + at)))
        }
        break
      case Step.SCALE: {
        const by = f32x4.splat(load<f32>(step + Step.F1))
        for (let i = 0; i < width; i += 4) {
          const at = <usize>i << 2
          v128.store(y + at, f32x4.mul(v128.load(a + at), by))
        }
        break
      }
      case Step.SOFTCAP: {
        const cap = f32x4.splat(load<f32>(step + Step.F1))
        for (let i = 0; i < width; i += 4) {
          const at = <usize>i << 2
          v128.store(y + at, f32x4.mul(cap, tanh(f32x4.div(v128.load(a + at), cap))))
        }
        break
      }
      case Step.COPY:
        memory.copy(y, a, <usize>width << 2)
        break
      case Step.SELECT:
        memory.copy(y, a + <usize>skip * Step.pointer(step, Step.A_STRIDE), <usize>width << 2)
        break
    }
  }
  return 0
}

/** Squares are summed in eight lanes. Words: N1 parts, F1 epsilon, P1 gain (0: none). */
function norm(step: usize, x: usize, y: usize, width: i32, scratch: usize): void {
  const parts = Step.word(step, Step.N1), size = width / parts, gain = Step.pointer(step, Step.P1)
  const whole = size & ~7, bytes = <usize>(size - whole) << 2
  const gainTail = scratch + 32
  for (let part = 0; part < parts; part++) {
    let s0 = f32x4.splat(0), s1 = s0
    for (let i = 0; i < whole; i += 8) {
      const at = x + (<usize>i << 2), u = v128.load(at), v = v128.load(at, 16)
      s0 = f32x4.add(s0, f32x4.mul(u, u))
      s1 = f32x4.add(s1, f32x4.mul(v, v))
    }
    if (bytes) {
      memory.fill(scratch, 0, 32)
      memory.copy(scratch, x + (<usize>whole << 2), bytes)
      const u = v128.load(scratch), v = v128.load(scratch, 16)
      s0 = f32x4.add(s0, f32x4.mul(u, u))
      s1 = f32x4.add(s1, f32x4.mul(v, v))
    }
    const factor = f32x4.splat(<f32>1 / sqrt<f32>(total(f32x4.add(s0, s1)) / <f32>size + load<f32>(step + Step.F1)))
    for (let i = 0; i < whole; i += 4) {
      const at = <usize>i << 2
      const v = f32x4.mul(v128.load(x + at), factor)
      v128.store(y + at, gain ? f32x4.mul(v, v128.load(gain + at)) : v)
    }
    if (bytes) {
      const at = <usize>whole << 2
      let u = f32x4.mul(v128.load(scratch), factor), v = f32x4.mul(v128.load(scratch, 16), factor)
      if (gain) {
        memory.copy(gainTail, gain + at, bytes)
        u = f32x4.mul(u, v128.load(gainTail))
        v = f32x4.mul(v, v128.load(gainTail, 16))
      }
      v128.store(scratch, u), v128.store(scratch, v, 16)
      memory.copy(y + at, scratch, bytes)
    }
    x += <usize>size << 2
    y += <usize>size << 2
  }
}

/** Words: N1 heads, N2 rotated floats, P1 and P2 tables, F2 (as a whole number) 1 for neighbours. */
function rope(step: usize, x: usize, width: i32, position: i32): void {
  const heads = Step.word(step, Step.N1), rotated = Step.word(step, Step.N2), half = rotated >> 1
  const table = <usize>(position * half) << 2
  const cos = Step.pointer(step, Step.P1) + table, sin = Step.pointer(step, Step.P2) + table
  const size = <usize>(width / heads) << 2
  const neighbours = Step.word(step, Step.F2)
  for (let head = 0; head < heads; head++) {
    let i = 0
    if (!neighbours) {
      const far = <usize>half << 2
      for (; i + 4 <= half; i += 4) {
        const at = <usize>i << 2
        const a = v128.load(x + at), b = v128.load(x + at + far), c = v128.load(cos + at), s = v128.load(sin + at)
        v128.store(x + at, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)))
        v128.store(x + at + far, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)))
      }
    }
    for (; i < half; i++) {
      const first = x + (neighbours ? <usize>i << 3 : <usize>i << 2), second = first + (neighbours ? 4 : <usize>half << 2)
      const a = load<f32>(first), b = load<f32>(second), c = load<f32>(cos + (<usize>i << 2)), s = load<f32>(sin + (<usize>i << 2))
      const ac: f32 = a * c, bs: f32 = b * s, bc: f32 = b * c, as_: f32 = a * s
      store<f32>(first, ac - bs)
      store<f32>(second, bc + as_)
    }
    x += size
  }
}

/** `kind`: 0 silu, 1 gelu, 2 relu². */
function gate(kind: i32, a: usize, b: usize, y: usize, width: i32): void {
  for (let i = 0; i < width; i += 4) {
    const at = <usize>i << 2, x = v128.load(a + at)
    v128.store(y + at, f32x4.mul(kind == 0 ? silu(x) : kind == 1 ? gelu(x) : relu2(x), v128.load(b + at)))
  }
}
