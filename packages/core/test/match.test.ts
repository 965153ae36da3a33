import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { nameMatcher } from '../src/pipeline/match.js'

const code = (work: () => unknown): string => {
  try {
    work()
    return 'fine'
  } catch (error) {
    return isLowbitError(error) ? error.code : String(error)
  }
}

/** Expressions of everything that is understood, over a small alphabet so that they match now and then. */
const { expression } = fc.letrec<{ expression: string; part: string; atom: string }>((tie) => ({
  expression: fc.oneof({ weight: 3, arbitrary: fc.array(tie('part'), { maxLength: 4 }).map((parts) => parts.join('')) }, { weight: 1, arbitrary: fc.tuple(tie('expression'), tie('expression')).map((both) => both.join('|')) }),
  part: fc.oneof({ weight: 4, arbitrary: fc.tuple(tie('atom'), fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}', '{0}', '{1,}', '*?', '+?')).map((both) => both.join('')) }, { weight: 1, arbitrary: fc.constantFrom('^', '$', '\\b', '\\B') }),
  atom: fc.oneof({ depthSize: 'small' }, fc.constantFrom('a', 'b', '.', '/', '\\d', '\\W', '[ab]', '[^a-z]', '[\\d_]', '\\.', '\\x61', '0', '[-a]', '[a-]'), tie('expression').map((inner) => `(${inner})`), tie('expression').map((inner) => `(?:${inner})`), tie('expression').map((inner) => `(?<n>${inner.replaceAll('(?<n>', '(')})`)),
}))
const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '0', '_', '.', '/', '-', '\n', ' '), maxLength: 12 })

describe('patterns of names', () => {
  it('as regular expressions mean what they mean elsewhere', () => {
    fc.assert(
      fc.property(expression, text, (source, name) => {
        // Without a mark it is a name; named groups twice are an error of the engine's own.
        fc.pre(/[\\^$*+?()[\]{}|]/.test(source) && (source.match(/\(\?<n>/g) ?? []).length < 2)
        expect(nameMatcher(`/${source}/`)(name), `${source} on ${JSON.stringify(name)}`).toBe(new RegExp(source).test(name))
      }),
      { numRuns: 3000 },
    )
  })

  it('as globs mean what they mean elsewhere', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '.'), minLength: 1, maxLength: 8 }), fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 10 }), (glob, name) => {
        const expected = new RegExp(`^${glob.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`, 's').test(name)
        expect(nameMatcher(glob)(name), `${glob} on ${name}`).toBe(expected)
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    '*m*m*m*m*m*m*m*m*m*m*m*m*m*m*m*m*m*m*!', '*a*a*a*a*a*a*a*', '/^(([a-z])+.)+[A-Z]([a-z])+$/', '/(m+)+!/', '/(a|a)*$b/', '/(a|aa)+$!/', '/(.*)*(.*)*(.*)*x/', '/((a{0,30}){0,30})!/', '/(a?){200}a{200}!/',
  ])('end in time: %s', (pattern) => {
    const test = nameMatcher(pattern)
    const start = performance.now()
    for (const c of ['m', 'a', 'ma', 'a.']) test(c.repeat(2000))
    expect(performance.now() - start).toBeLessThan(2000)
  })

  it('that no such machine can follow, or that are none, are refused with the reason', () => {
    for (const pattern of ['/(?=a)/', '/(?!a)/', '/(?<=a)b/', '/(a)\\1/', '/(?<n>a)\\k<n>/', '/(/', '/a)+/', '/[/', '/[b-a]/', '/*a/', '/a**/', '/^*/', '/\\/', '/a{2,1}/', '/((a{900}){900}){900}/', '/a{2000}/', `/${'('.repeat(100)}${')'.repeat(100)}/`, '*'.repeat(5000)]) {
      expect(code(() => nameMatcher(pattern)), pattern.slice(0, 30)).toBe('LOWBIT_ARGUMENT')
    }
  })
})
