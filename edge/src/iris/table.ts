/**
 * The host of a sandbox on one screen: its data plane. Each row is entered by a token of that sandbox, and `id` is the host's. What has the same body
 * below `/v1/runs/{id}` has the same handler.
 */

import {
  checkpointRequest,
  checkpointWait,
  irisExecRequest,
  mkdirRequest,
  moveRequest,
  serviceExecRequest,
  serviceRequest,
  storeBatchRequest,
  storeSetRequest,
} from '@portico/shared/api'
import {
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
  restoreCheckpoint,
  waitForCheckpoint,
} from '../routes/checkpoints.ts'
import { makeDirectory, move, remove } from '../routes/file-changes.ts'
import { download, exists, listTree, stat } from '../routes/files.ts'
import { type BodyRule, json, jsonOrNothing, type Method, none, type Row, row, stream } from '../routes/row.ts'
import {
  deleteService,
  execInService,
  listServices,
  readService,
  readServiceLogs,
  startService,
  stopService,
  upsertService,
} from '../routes/services.ts'
import { batchOf, changeStore, deleteValue, listStore, oneValue, readValue, setValue } from '../routes/store.ts'
import { execInside } from './exec.ts'
import { writeFile } from './write-file.ts'

type Handle<Rule extends BodyRule> = Row<'sandbox-token', Rule>['handle']

function inside<const Rule extends BodyRule>(
  method: Method,
  path: `/v1/${string}`,
  body: Rule,
  handle: Handle<Rule>,
): Row {
  return row({ path, methods: [method], access: 'sandbox-token', needs: null, body, handle })
}

/** The same for what is kept: each call is logged. */
function change<const Rule extends BodyRule>(...given: Parameters<typeof inside<Rule>>): Row {
  return { ...inside(...given), logged: true }
}

export const sandboxTable: readonly Row[] = [
  inside('POST', '/v1/exec', json(irisExecRequest), execInside),

  inside('POST', '/v1/files', stream, writeFile),
  inside('GET', '/v1/files', none, download),
  inside('DELETE', '/v1/files', none, remove),
  inside('GET', '/v1/files/list', none, listTree),
  inside('GET', '/v1/files/stat', none, stat),
  inside('GET', '/v1/files/exists', none, exists),
  inside('POST', '/v1/files/mkdir', json(mkdirRequest), makeDirectory),
  inside('POST', '/v1/files/move', json(moveRequest), move),

  change('POST', '/v1/checkpoints', jsonOrNothing(checkpointRequest), createCheckpoint),
  inside('GET', '/v1/checkpoints', none, listCheckpoints),
  inside('POST', '/v1/checkpoints/wait', json(checkpointWait), waitForCheckpoint),
  change('POST', '/v1/checkpoints/:checkpoint/restore', none, restoreCheckpoint),
  change('DELETE', '/v1/checkpoints/:checkpoint', none, deleteCheckpoint),

  inside('GET', '/v1/services', none, listServices),
  inside('PUT', '/v1/services/:name', json(serviceRequest), upsertService),
  inside('GET', '/v1/services/:name', none, readService),
  inside('DELETE', '/v1/services/:name', none, deleteService),
  inside('POST', '/v1/services/:name/start', none, startService),
  inside('POST', '/v1/services/:name/stop', none, stopService),
  inside('POST', '/v1/services/:name/exec', json(serviceExecRequest), execInService),
  inside('GET', '/v1/services/:name/logs', none, readServiceLogs),

  inside('GET', '/v1/store', none, listStore),
  inside('POST', '/v1/store/batch', batchOf(storeBatchRequest), changeStore),
  inside('PUT', '/v1/store/:key', oneValue(storeSetRequest), setValue),
  inside('GET', '/v1/store/:key', none, readValue),
  inside('DELETE', '/v1/store/:key', none, deleteValue),
]
