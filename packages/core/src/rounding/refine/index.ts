export { refined, refineResult, REFINE_OPTIONS, type RefineOptions } from './refined.js'
