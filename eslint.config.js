import nx from '@nx/eslint-plugin'
import tseslint from 'typescript-eslint'

/** The arrows of the architecture: who may import whom. Everything points down. */
const arrows = [
  { sourceTag: 'layer:core', onlyDependOnLibsWithTags: [] },
  { sourceTag: 'layer:formats', onlyDependOnLibsWithTags: ['layer:core'] },
  { sourceTag: 'layer:algorithm', onlyDependOnLibsWithTags: ['layer:core'] },
  { sourceTag: 'layer:part', onlyDependOnLibsWithTags: ['layer:part', 'layer:formats', 'layer:core'] },
  { sourceTag: 'layer:plugin', onlyDependOnLibsWithTags: ['layer:part', 'layer:formats', 'layer:core'] },
  { sourceTag: 'layer:app', onlyDependOnLibsWithTags: ['layer:plugin', 'layer:part', 'layer:algorithm', 'layer:formats', 'layer:core'] },
]

const SYNTAX = [
  { selector: 'TSAsExpression > TSAsExpression > TSUnknownKeyword', message: 'No `as unknown as`: narrow the type instead.' },
  { selector: 'ExportDefaultDeclaration', message: 'No default exports.' },
  { selector: "MemberExpression[computed=true][property.type='MemberExpression'][property.property.name='opType']", message: 'Names from files are hostile: own(table, node.opType).' },
]

/** What writes, makes or renames files: one place does it, so that no file is ever half there. */
const WRITERS = ['appendFile', 'appendFileSync', 'copyFile', 'copyFileSync', 'cp', 'cpSync', 'createWriteStream', 'default', 'link', 'mkdtemp', 'mkdtempSync', 'open', 'openSync', 'promises', 'rename', 'renameSync', 'symlink', 'truncate', 'write', 'writeFile', 'writeFileSync']
const ONE_WRITER = 'Files are written by atomicWrite, saveOnnx or withTemporaryFolder of @lowbit/formats/node.'

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', '**/assembly/**', '**/*.as.ts', 'bench/results/**', 'testdata/**'] },
  ...tseslint.configs.strict,
  {
    files: ['**/*.ts', '**/*.js', '**/*.mjs'],
    plugins: { '@nx': nx },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-empty-function': 'off',
      'no-restricted-syntax': ['error', ...SYNTAX],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    rules: { '@nx/enforce-module-boundaries': ['error', { depConstraints: arrows, allow: [], enforceBuildableLibDependency: false, checkDynamicDependenciesExceptions: ['@lowbit/formats', '@lowbit/backend-ort'] }] },
  },
  { files: ['packages/*/src/**/*.ts'], rules: { '@typescript-eslint/no-non-null-assertion': 'error' } },
  {
    files: ['packages/*/src/**/*.ts'],
    ignores: ['packages/formats/src/node/**'],
    rules: {
      'no-restricted-imports': ['error', { paths: ['node:fs', 'node:fs/promises', 'fs', 'fs/promises'].map((name) => ({ name, importNames: WRITERS, message: ONE_WRITER })) }],
      'no-restricted-syntax': ['error', ...SYNTAX, { selector: 'ImportExpression[source.value=/^(node:)?fs/]', message: ONE_WRITER }],
    },
  },
  { files: ['**/*.config.ts', '**/*.config.js', 'eslint.config.js'], rules: { 'no-restricted-syntax': 'off' } },
)
