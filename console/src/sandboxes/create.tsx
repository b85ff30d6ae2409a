/** A new sandbox: asked for, and opened as soon as it runs. */

import type { ImageList, RunRecord } from '@portico/shared/api'
import { useEffect, useState } from 'preact/hooks'
import { Dialog } from '../parts/dialog.tsx'
import { useApi } from '../parts/platform.ts'
import { sandboxHash } from '../route.ts'

export function CreateDialog({ onClose }: { onClose: () => void }) {
  const api = useApi()
  const [images, setImages] = useState<readonly string[]>([])
  useEffect(() => {
    const stop = new AbortController()
    // Without the list a name can still be typed.
    api.json<ImageList>('/v1/images', { signal: stop.signal }).then(
      (list) => setImages(list.images),
      () => undefined,
    )
    return () => stop.abort()
  }, [api])
  const create = async (form: FormData) => {
    const run = await api.json<RunRecord>('/v1/runs', { method: 'POST', json: requestOf(form) })
    location.hash = sandboxHash(run.id)
  }
  return (
    <Dialog title="New sandbox" action="Create" onAction={create} onClose={onClose}>
      <label>
        Image
        <input name="image" list="images" required value="python" autocomplete="off" spellcheck={false} />
      </label>
      <datalist id="images">
        {images.map((image) => (
          <option key={image} value={image} />
        ))}
      </datalist>
      <label>
        Name <span class="quiet">(if you like)</span>
        <input name="name" maxLength={128} autocomplete="off" />
      </label>
      <div class="row fields">
        <label>
          vCPUs
          <input name="vcpus" type="number" min={1} max={8} value={1} required />
        </label>
        <label>
          Memory, MiB
          <input name="mem_mib" type="number" min={128} max={32_768} value={1024} required />
        </label>
        <label>
          Disk, MiB
          <input name="disk_mib" type="number" min={64} max={1_048_576} value={4096} required />
        </label>
      </div>
      <div class="row fields">
        <label>
          Idle for, seconds
          <input name="timeout" type="number" min={0} max={2_592_000} value={3600} required aria-describedby="idle" />
        </label>
        <label>
          Then
          <select name="on_idle">
            <option value="hibernate">hibernate</option>
            <option value="destroy">destroy</option>
          </select>
        </label>
      </div>
      <p class="quiet" id="idle">
        0 seconds: it stays until it is destroyed.
      </p>
      <label class="check">
        <input name="auto_resume" type="checkbox" checked /> Wake it on any use
      </label>
    </Dialog>
  )
}

function requestOf(form: FormData): Record<string, unknown> {
  const text = (name: string) => String(form.get(name) ?? '').trim()
  return {
    image: text('image'),
    ...(text('name') === '' ? {} : { name: text('name') }),
    vcpus: Number(text('vcpus')),
    mem_mib: Number(text('mem_mib')),
    disk_mib: Number(text('disk_mib')),
    timeout: Number(text('timeout')),
    on_idle: text('on_idle'),
    auto_resume: form.has('auto_resume'),
  }
}
