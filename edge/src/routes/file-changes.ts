/** `/v1/runs/{id}/files…`: what changes files without their contents passing through. The sandbox's agent does it; here paths are checked, and it is noted what was done. */

import {
  type chmodRequest,
  type chownRequest,
  type copyRequest,
  type FileDone,
  fileDone,
  type mkdirRequest,
  type moveRequest,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { type NamedPath, namedPath, pathIn } from '../guest/named-path.ts'
import { askGuest, type Question } from '../process/ask.ts'
import { flagOf } from '../process/output-query.ts'
import { sandboxOf } from './runs.ts'

/** A whole tree may take its time. */
const treeWaitMs = 600_000

/** `DELETE /v1/runs/{id}/files?path=&recursive=` */
export function remove(call: SandboxCall): Promise<Response> {
  const { searchParams } = call.url
  const path = pathIn(searchParams)
  const recursive = flagOf(searchParams, 'recursive', false)
  const query = new URLSearchParams({ ...path, recursive: String(recursive) })
  const question = { method: 'DELETE', path: `/files?${query}` } as const
  return change(call, question, 'file.removed', { ...path, recursive })
}

/** `POST /v1/runs/{id}/files/mkdir` */
export function makeDirectory(call: SandboxCall<z.output<typeof mkdirRequest>>): Promise<Response> {
  const { path, wanted } = pathOf(call.body)
  return changeOne(call, 'mkdir', { ...path, ...wanted })
}

/** `POST /v1/runs/{id}/files/chmod` */
export function changeMode(call: SandboxCall<z.output<typeof chmodRequest>>): Promise<Response> {
  const { path, wanted } = pathOf(call.body)
  return changeOne(call, 'chmod', { ...path, ...wanted })
}

/** `POST /v1/runs/{id}/files/chown` */
export function changeOwner(call: SandboxCall<z.output<typeof chownRequest>>): Promise<Response> {
  const { path, wanted } = pathOf(call.body)
  if (wanted.owner === undefined && wanted.group === undefined) {
    throw new AppError('invalid_request', 'cannot change the owner: give owner, group or both')
  }
  return changeOne(call, 'chown', { ...path, ...wanted })
}

/** `POST /v1/runs/{id}/files/move` */
export function move(call: SandboxCall<z.output<typeof moveRequest>>): Promise<Response> {
  const { overwrite } = call.body
  const paths = fromTo(call.body)
  const json = { ...paths, overwrite }
  return change(call, { method: 'POST', path: '/files/move', json }, 'file.moved', paths)
}

/** `POST /v1/runs/{id}/files/copy` */
export function copy(call: SandboxCall<z.output<typeof copyRequest>>): Promise<Response> {
  const { overwrite, recursive } = call.body
  const paths = fromTo(call.body)
  const json = { ...paths, overwrite, recursive }
  return change(call, { method: 'POST', path: '/files/copy', json }, 'file.copied', { ...paths, recursive })
}

function changeOne(call: SandboxCall, what: 'mkdir' | 'chmod' | 'chown', json: object): Promise<Response> {
  return change(call, { method: 'POST', path: `/files/${what}`, json }, 'file.changed', { change: what, ...json })
}

/** Notes what was done, never a failure. */
async function change(
  call: SandboxCall,
  question: Question,
  event: string,
  noted: Readonly<Record<string, unknown>>,
): Promise<Response> {
  const { id } = sandboxOf(call)
  const done: FileDone = await askGuest(call, id, { ...question, waitMs: treeWaitMs }, fileDone)
  noteCall(call, id, event, noted)
  return Response.json(done)
}

function pathOf<Body extends { path?: string | undefined; path_base64?: string | undefined }>(
  body: Body,
): { path: NamedPath; wanted: Omit<Body, 'path' | 'path_base64'> } {
  const { path, path_base64, ...wanted } = body
  return { path: namedPath(path, path_base64, 'path'), wanted }
}

interface FromTo {
  readonly source?: string | undefined
  readonly source_base64?: string | undefined
  readonly destination?: string | undefined
  readonly destination_base64?: string | undefined
}

function fromTo({ source, source_base64, destination, destination_base64 }: FromTo): Record<string, string> {
  return {
    ...spelled('source', namedPath(source, source_base64, 'source')),
    ...spelled('destination', namedPath(destination, destination_base64, 'destination')),
  }
}

/** A path under another name. */
function spelled(name: string, path: NamedPath): Record<string, string> {
  return 'path' in path ? { [name]: path.path } : { [`${name}_base64`]: path.path_base64 }
}
