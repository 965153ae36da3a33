import { openCausalLm } from '@lowbit/causal-lm'

/** Ours in a worker of a page: opens the model at `/model.gguf`, reads a prompt, makes tokens. */
self.onmessage = ({ data }: MessageEvent<Question>) => {
  measure(data).then((speed) => self.postMessage(speed), (error: unknown) => self.postMessage({ error: String(error) }))
}

interface Question {
  readonly threads: number
  readonly text: string
  readonly fresh: number
}

async function measure({ threads, text, fresh }: Question): Promise<unknown> {
  const began = performance.now()
  const blob = await (await fetch('/model.gguf')).blob()
  using model = await openCausalLm(blob, { threads, context: 512 })
  using session = model.session()
  const prompt = model.needTokenizer().encode(text)
  const opened = performance.now()
  let logits = await session.extend(prompt)
  const first = performance.now()
  for (let i = 0; i < fresh; i++) {
    let best = 0
    for (let v = 1; v < logits.length; v++) if (logits[v] > logits[best]) best = v
    logits = await session.extend([best])
  }
  const end = performance.now()
  return { openMs: opened - began, firstMs: first - opened, prompt: prompt.length, decode: (1000 * fresh) / (end - first), engine: model.engine }
}
