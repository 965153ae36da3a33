export * from './recipe.js'
export * from './resolve.js'
export { RECIPE_SCHEMA, type Schema } from './schema.js'
export { validate } from './validate.js'
