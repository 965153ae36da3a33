import { writeFileSync } from 'node:fs'
import { recipeSchema } from '@lowbit/core'
import { UNION } from '../packages/cli/src/recipes/union.js'

/** The published JSON Schema: the form of recipes that everything the command brings declares. */
export const PUBLISHED = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'lowbit recipe', ...recipeSchema(UNION) }

/** Writes it: `npx tsx --tsconfig tsconfig.base.json tools/write-recipe-schema.ts`. */
if (process.argv[1]?.endsWith('write-recipe-schema.ts') === true) writeFileSync(new URL('../packages/core/recipe.schema.json', import.meta.url), `${JSON.stringify(PUBLISHED, null, 2)}\n`)
