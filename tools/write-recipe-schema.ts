import { writeFileSync } from 'node:fs'
import { RECIPE_SCHEMA } from '@lowbit/core'

/** Writes the published JSON Schema from the one that core validates with: `npx tsx --tsconfig tsconfig.base.json tools/write-recipe-schema.ts`. */
const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'lowbit recipe', ...RECIPE_SCHEMA }
writeFileSync(new URL('../packages/core/recipe.schema.json', import.meta.url), `${JSON.stringify(schema, null, 2)}\n`)
