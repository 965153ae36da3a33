/** `npm run bench -- <name> [options]`: measures side by side with what a user would pick instead. */
const [name, ...rest] = process.argv.slice(2)

switch (name) {
  case 'kernels': {
    const { benchKernels } = await import('./kernels.ts')
    await benchKernels(rest)
    break
  }
  case 'decoder': {
    const { benchDecoder } = await import('./decoder.ts')
    await benchDecoder(rest)
    break
  }
  case 'lookup': {
    const { benchLookup } = await import('./kernels-lookup.ts')
    await benchLookup()
    break
  }
  case 'python': {
    const { benchPython } = await import('./python.ts')
    await benchPython(rest)
    break
  }
  case 'linalg': {
    const { benchLinAlg } = await import('./linalg.ts')
    await benchLinAlg()
    break
  }
  case 'residual': {
    const { benchResidual } = await import('./residual.ts')
    await benchResidual()
    break
  }
  case 'memory': {
    const { benchMemory } = await import('./memory.ts')
    await benchMemory()
    break
  }
  case 'tfjs': {
    const { benchTfjs } = await import('./tfjs.ts')
    await benchTfjs(rest)
    break
  }
  case 'webgpu': {
    const { benchWebGpu } = await import('./webgpu.ts')
    await benchWebGpu()
    break
  }
  case 'support': {
    const { benchSupport } = await import('./support.ts')
    await benchSupport()
    break
  }
  case 'lm': {
    const { benchLm } = await import('./lm.ts')
    await benchLm(rest)
    break
  }
  case 'lm-judge': {
    const { judgeLm } = await import('./lm-judge.ts')
    await judgeLm(rest)
    break
  }
  default:
    console.error(`no such benchmark: ${name ?? '(none)'}; there is: kernels, decoder, lookup, webgpu, support, tfjs, python, memory, linalg, residual, lm, lm-judge`)
    process.exitCode = 1
}

export {}
