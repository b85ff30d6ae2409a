import { expect, test } from 'vitest'
import { parsePort, placeOf } from './host.ts'

const env = { APP_URL: 'https://app.portico.example', SANDBOX_URL: 'https://sandbox.portico.example' }
const id = `run${'a'.repeat(26)}`

test.each([
  [`https://8080-${id}.app.portico.example`, 8080, '', '/'],
  [`https://8080-${id}.app.portico.example?x`, 8080, '', '/?x'],
  [`https://1-${id}.APP.portico.example:444/a/../b#c`, 1, '', '/a/../b'],
  [`https://65535-${id}.app.portico.example./a`, 65_535, '', '/a'],
  [`https://${id}.sandbox.portico.example/sb/p/80`, 80, '/sb/p/80', '/'],
  [`https://${id}.sandbox.portico.example/sb/p/80/x?y`, 80, '/sb/p/80', '/x?y'],
  [`https://${id}.sandbox.portico.example/sb/p/80?y`, 80, '/sb/p/80', '/?y'],
])('%s is a port', (url, port, prefix, path) => {
  expect(placeOf(url, env)).toEqual({ kind: 'port', target: { sandbox: id, port, prefix, path } })
})

test.each([
  'https://app.portico.example/v1/runs',
  `https://0-${id}.app.portico.example/`,
  `https://80-${id}x.app.portico.example/`,
  `https://80.${id}.app.portico.example/`,
  `https://${id}.sandbox.portico.example/sb/p/80x/`,
  `https://${id}.sandbox.portico.example/sb/p/`,
  `https://${id}x.sandbox.portico.example/v1/exec`,
  `https://x.${id}.sandbox.portico.example/v1/exec`,
  `https://u@${id}.sandbox.portico.example/v1/exec`,
  'https://sandbox.portico.example/v1/exec',
  `https://api.portico.example@80-${id}.app.portico.example/`,
  `https://80-${id}%2eapp.portico.example/`,
  'https://ａpp.portico.example/',
  `https://api.portico.example\\.80-${id}.app.portico.example/`,
  'https:///v1/runs',
])('%s leads nowhere', (url) => {
  expect(placeOf(url, env)).toEqual({ kind: 'nowhere' })
})

test.each([
  `https://${id}.sandbox.portico.example`,
  `https://${id}.sandbox.portico.example/v1/exec?x`,
  `http://${id}.SANDBOX.portico.example.:8443/v1/store/a`,
  `https://${id}.sandbox.portico.example//sb/p/80/`,
  `https://${id}.sandbox.portico.example/sb/p`,
])('%s is a sandbox itself', (url) => {
  expect(placeOf(url, env)).toEqual({ kind: 'sandbox', sandbox: id })
})

test.each([
  'https://api.portico.example/x',
  'https://portico.example/',
  `https://80-${id}.app.portico.example.test/`,
  'http://127.0.0.1:8787/',
  'http://[::1]/',
])('%s is the API', (url) => {
  expect(placeOf(url, env)).toEqual({ kind: 'api' })
})

test('without the variables every host is the API', () => {
  expect(placeOf(`https://80-${id}.app.portico.example/`, {})).toEqual({ kind: 'api' })
})

test('a port is written in one way only', () => {
  expect(['1', '65535'].map(parsePort)).toEqual([1, 65_535])
  expect(['', '0', '01', '65536', '+1', '1.0', ' 1', '1e3'].map(parsePort)).toEqual(Array(8).fill(undefined))
})
