export * from './recipe.js'
export { recipeOptions, type RecipeUnion } from './recipe-options.js'
export * from './resolve.js'
export { RECIPE_SCHEMA, recipeSchema, type Schema } from './schema.js'
