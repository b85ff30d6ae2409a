/** The API with the key of whoever signed in, for all that is on the page. */

import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import type { Api } from '../api.ts'

export const Platform = createContext<Api | undefined>(undefined)

export function useApi(): Api {
  const api = useContext(Platform)
  if (api === undefined) throw new Error('this part of the page is for who signed in')
  return api
}
