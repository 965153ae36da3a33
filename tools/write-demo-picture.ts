import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Draws what `lowbit demo` prints as docs/demo.svg, for the README: `npm run build && npx tsx tools/write-demo-picture.ts`.
 * The text is what the command printed, nothing is edited.
 */
const bin = fileURLToPath(new URL('../packages/cli/dist/bin.js', import.meta.url))
const demo = spawnSync(process.execPath, [bin, 'demo', ...process.argv.slice(2)], { encoding: 'utf8' })
if (demo.status !== 0) throw new Error(demo.stderr)
const lines = ['$ npx lowbit demo', ...demo.stdout.trimEnd().split('\n')]

const CHARACTER = 7.83
const LINE = 20
const width = Math.ceil(Math.max(...lines.map((l) => [...l].length)) * CHARACTER) + 40
const height = lines.length * LINE + 36
const escape = (text: string): string => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)
const rows = lines.map((line, i) => `<text x="20" y="${32 + i * LINE}"${i === 0 ? ' fill="#8ab4f8"' : ''} xml:space="preserve">${escape(line)}</text>`)
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="What lowbit demo prints">
<rect width="100%" height="100%" rx="8" fill="#1e1e2a"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', monospace" font-size="13" fill="#e6e6ea">
${rows.join('\n')}
</g></svg>
`
writeFileSync(new URL('../docs/demo.svg', import.meta.url), svg)
