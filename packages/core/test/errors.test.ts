import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { checkPlugin, isLowbitError, LowbitError, nameMatcher, rtn, VERSION } from '@lowbit/core'

describe('LowbitError', () => {
  it('names the thing, what was found, what was expected and what to do', () => {
    const error = new LowbitError('LOWBIT_SHAPE', { thing: 'weight a', found: '[2, 3]', expected: '[3, 2]', fix: 'transpose it' })
    expect(error.message).toBe('LOWBIT_SHAPE: weight a: [2, 3]; expected [3, 2]; transpose it')
  })

  it('is recognised across two copies of the package, by its mark', () => {
    const foreign = Object.assign(new Error('x'), { [Symbol.for('lowbit.error')]: true, code: 'LOWBIT_FILE' })
    expect(isLowbitError(foreign)).toBe(true)
    expect(isLowbitError(foreign, 'LOWBIT_FILE')).toBe(true)
    expect(isLowbitError(foreign, 'LOWBIT_SHAPE')).toBe(false)
    expect(isLowbitError(new Error('x'))).toBe(false)
  })
})

describe('checkPlugin', () => {
  it('reads apiVersion before anything else of a plugin', () => {
    const future = new Proxy({ apiVersion: 3 }, {
      get(target, key) {
        if (key !== 'apiVersion') throw new Error(`read ${String(key)} of a plugin from the future`)
        return Reflect.get(target, key)
      },
      has: () => false,
    })
    // @ts-expect-error a plugin of another contract version does not type-check, and must be refused at run time too
    expect(() => checkPlugin(future, 'rounding')).toThrow(/LOWBIT_API_VERSION.*apiVersion 3/)
  })

  it('refuses a plugin of another kind', () => {
    // @ts-expect-error the kind is wrong on purpose
    expect(() => checkPlugin(rtn(), 'transform')).toThrow(/LOWBIT_PLUGIN.*rounding/)
  })
})

describe('version', () => {
  it('is that of package.json', () => {
    const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
    expect(manifest).toMatchObject({ version: VERSION })
  })
})

describe('nameMatcher', () => {
  it.each([
    ['/model/layers.0/q', '/model/layers.0/q', true],
    ['/model/layers.0/', '/model/layers.0/', true],
    ['*.q', '/model/layers.0.q', true],
    ['*.q', '/model/layers.0.qq', false],
    ['a.b', 'axb', false],
    ['a(b', 'a(b', true],
    ['layer?', 'layer1', true],
    ['/^layer[12]$/', 'layer2', true],
    ['/^layer[12]$/', 'layer3', false],
    ['a*\n', 'ab\n', true],
  ])('%s against %s is %s', (pattern, name, matches) => {
    expect(nameMatcher(pattern)(name)).toBe(matches)
  })

  it('says so when an expression does not parse', () => {
    expect(() => nameMatcher('/(/')).toThrow(/LOWBIT_ARGUMENT/)
  })
})
