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
      'no-restricted-syntax': [
        'error',
        { selector: 'TSAsExpression > TSAsExpression > TSUnknownKeyword', message: 'No `as unknown as`: narrow the type instead.' },
        { selector: 'ExportDefaultDeclaration', message: 'No default exports.' },
      ],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    rules: { '@nx/enforce-module-boundaries': ['error', { depConstraints: arrows, allow: [], enforceBuildableLibDependency: false, checkDynamicDependenciesExceptions: ['@lowbit/formats'] }] },
  },
  { files: ['packages/*/src/**/*.ts'], rules: { '@typescript-eslint/no-non-null-assertion': 'error' } },
  { files: ['**/*.config.ts', '**/*.config.js', 'eslint.config.js'], rules: { 'no-restricted-syntax': 'off' } },
)
