/** The queries of lists: filters, page size, cursor. What a query does not understand it refuses, as a filter that is ignored would show too much. */

import { type RunStatus, runStatuses } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { HistoryInput, ListInput } from '../ports.ts'

const mostAtOnce = 1000
/** Each label that is asked for is looked up in each sandbox. */
const mostLabels = 8

/** `?state=a,b&label=k:v&region=&name=&limit=&cursor=`; undefined if it asks for another region than the key's, where nothing is to be seen. */
export function listInput(query: URLSearchParams, region: string): ListInput | undefined {
  if ((query.get('region') ?? region) !== region) return undefined
  const states = query.getAll('state').flatMap((text) => text.split(',').filter((name) => name !== ''))
  const labels = labelsOf(query.getAll('label'))
  const name = query.get('name')
  return {
    region,
    ...(states.length === 0 ? {} : { states: [...new Set(states.map(stateOf))] }),
    ...(labels.length === 0 ? {} : { labels: agreed(labels) }),
    ...(name === null ? {} : { name }),
    ...pageOf(query),
  }
}

/** `?limit=&cursor=` */
export function historyInput(query: URLSearchParams, region: string): HistoryInput {
  return { region, ...pageOf(query) }
}

function pageOf(query: URLSearchParams): { limit?: number; cursor?: string } {
  const limit = query.get('limit')
  const cursor = query.get('cursor')
  return { ...(limit === null ? {} : { limit: limitOf(limit) }), ...(cursor === null ? {} : { cursor }) }
}

function limitOf(text: string): number {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= mostAtOnce) return limit
  throw new AppError('invalid_request', `cannot list: limit is a number from 1 to ${mostAtOnce}`)
}

function stateOf(text: string): RunStatus {
  const state = runStatuses.find((one) => one === text)
  if (state !== undefined) return state
  throw new AppError('invalid_request', `cannot list: state is one of ${runStatuses.join(', ')}`)
}

function labelsOf(texts: readonly string[]): (readonly [string, string])[] {
  if (texts.length <= mostLabels) return texts.map(labelOf)
  throw new AppError('invalid_request', `cannot list: at most ${mostLabels} labels can be asked for at once`)
}

function labelOf(text: string): readonly [string, string] {
  const at = text.indexOf(':')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new AppError('invalid_request', 'cannot list: label is a name and a value, as in team:search')
}

/** No sandbox has two values under one name. */
function agreed(labels: readonly (readonly [string, string])[]): Record<string, string> {
  const map = new Map<string, string>()
  for (const [name, value] of labels) {
    if ((map.get(name) ?? value) !== value) {
      throw new AppError('invalid_request', 'cannot list: two values are asked of one label')
    }
    map.set(name, value)
  }
  return Object.fromEntries(map)
}
