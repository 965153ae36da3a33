/** Checks the Node that runs this file; one JSON line at the end. */
import { compile } from '../../scripts/compile.mjs'
import { byteDotMismatches } from './byte-dot.js'
import { checkEngine } from './check.js'

const findings = await checkEngine()
const { relaxed } = findings.probe
// as if this engine's dot product took unsigned bytes (x86 with VNNI), which few machines at hand have
const emulated = relaxed === 'absent' || relaxed === 'wrong' ? [] : await byteDotMismatches('unsigned', Buffer.from(await compile(['--enable', 'relaxed-simd', '--use', 'EXACT_UNSIGNED_DOT=1']), 'base64'))
console.log(JSON.stringify({ node: process.versions.node, ...findings, failures: [...findings.failures, ...emulated.map((failure) => `emulated: ${failure}`)] }))
