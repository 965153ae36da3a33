/** Opens a model in a process of its own and says by how much the process grew at most, in bytes: `open-alone.ts FILE CONTEXT`. */
import { openCausalLm } from '@lowbit/causal-lm'

const [file = '', context = '64'] = process.argv.slice(2)
await import('@lowbit/formats/node')
globalThis.gc?.()
const empty = process.memoryUsage().rss
using model = await openCausalLm(file, { threads: 1, context: Number(context), tokenizer: 'none' })
const loading = process.resourceUsage().maxRSS * 1024 - empty
using session = model.session()
await session.extend([1, 2, 3])
console.log(JSON.stringify({ loading, running: process.resourceUsage().maxRSS * 1024 - empty, cache: session.bytes }))
