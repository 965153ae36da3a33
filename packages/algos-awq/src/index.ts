export { awq, AWQ_OPTIONS, type AwqOptions } from './awq.js'
export { CLIP_RATIOS, searchClip, type ClipSearch } from './clip-search.js'
export { awqScales, roundedBy, searchScales, weightMeans, type AwqSite, type ScaleCandidate, type ScaleSearch, type ScaleSearchOptions, type SearchContext, type WeightStat } from './scale-search.js'
