import { isLowbitError } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { chatTemplate, TEMPLATE_LIMITS } from '../../src/tokenizer/index.js'

const render = (source: string, variables: Record<string, unknown> = {}): string => chatTemplate(source, { bosToken: '<s>' }).render([{ role: 'user', content: 'Hi' }], { variables })

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isLowbitError(error) ? error.code : `not ours: ${String(error)}`
  }
  return undefined
}

describe('chatTemplate', () => {
  it('renders messages with the tokens of the model', () => {
    expect(render('{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}> {% endif %}')).toBe('<s>user: Hi\n> ')
  })

  it.each([
    ['a loop over a huge range', '{% for i in range(1000000000) %}x{% endfor %}'],
    ['loops inside loops', '{% for i in range(90000) %}{% for j in range(90000) %}{% set x = i * j %}{% endfor %}{% endfor %}'],
    ['a text that doubles', `{% set ns = namespace(t='aaaaaaaa') %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}`],
    ['a list that doubles', `{% set ns = namespace(t=[1]) %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t | length }}`],
    ['a macro that calls itself', '{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}'],
    ['steps of nothing', '{% for i in range(0, 10, 0.0000001) %}{% endfor %}'],
  ])('stops %s', (_, source) => {
    const start = performance.now()
    expect(codeOf(() => render(source))).toBe('LOWBIT_LIMIT')
    expect(performance.now() - start).toBeLessThan(TEMPLATE_LIMITS.milliseconds + 5_000)
  })

  it.each([
    ['no Jinja', '{% if %}', 'LOWBIT_FORMAT'],
    ['an end that is missing', '{% for m in messages %}', 'LOWBIT_FORMAT'],
    ['a function that is not there', '{{ open("/etc/passwd") }}', 'LOWBIT_ARGUMENT'],
    ['what the template refuses', '{{ raise_exception("only one turn") }}', 'LOWBIT_ARGUMENT'],
  ])('says what is wrong with %s', (_, source, code) => {
    expect(codeOf(() => render(source))).toBe(code)
  })

  it('keeps the words of a refusal', () => {
    expect(() => render('{{ raise_exception("roles must alternate") }}')).toThrow('roles must alternate')
  })

  it('shows a template no object of the program', () => {
    class Secret { readonly key = 'k'; reveal(): string { return 'secret' } }
    expect(render('{{ s.reveal is defined }} {{ s.constructor is defined }} {{ messages.constructor is defined }} {{ f is defined }}', { s: new Secret(), f: () => 1 })).toBe('false false false false')
  })
})
