import { Dice } from './tools/fuzz/dice.js'
import { readerTargets } from './tools/fuzz/reader-targets.js'
import { onnxTarget } from './tools/fuzz/onnx-target.js'
const only = process.argv[4] ?? ''
const all = [onnxTarget(), ...readerTargets()].filter((t) => only === '' || t.name === only)
const index = Number(process.argv[2])
const dice = new Dice(Number(process.argv[3] ?? 1), index)
let at = dice.next() * all.reduce((s, t) => s + t.weight, 0)
const target = all.find((t) => (at -= t.weight) < 0) ?? all[0]
const bytes = target.make(dice)
;(await import('node:fs')).writeFileSync('/tmp/ev/mutant.' + target.extension, bytes)
try { console.log(await target.run(bytes, dice, console.log)) } catch (e) { console.log(e) }
