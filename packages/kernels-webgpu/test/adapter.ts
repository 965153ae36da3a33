import { existsSync } from 'node:fs'

/** The software adapter of Debian's chromium package. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json'

export interface Adapter {
  readonly gpu: GPU | undefined
  /** Why there is none. */
  readonly reason: string
}

/** Dawn of npm `webgpu` on whatever Vulkan adapter there is, else on SwiftShader. The object is kept: Dawn ends with it. */
async function findAdapter(): Promise<Adapter> {
  if (process.env['VK_ICD_FILENAMES'] === undefined && existsSync(SWIFTSHADER)) process.env['VK_ICD_FILENAMES'] = SWIFTSHADER
  try {
    const { create, globals } = await import('webgpu')
    Object.assign(globalThis, globals)
    const gpu = create([])
    if ((await gpu.requestAdapter()) !== null) return { gpu, reason: '' }
    return { gpu: undefined, reason: `no WebGPU adapter: install Debian's chromium package (${SWIFTSHADER}) or set VK_ICD_FILENAMES` }
  } catch (error) {
    return { gpu: undefined, reason: `npm webgpu does not load: ${error instanceof Error ? error.message : String(error)}` }
  }
}

export const adapter = await findAdapter()
