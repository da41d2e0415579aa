import { startPage } from './explain-main.ts'
import { startWorker } from './explain-worker.ts'

/**
 * The page that explains logs. One script is both: it starts itself again as a
 * worker, so that the page is one file and never waits for a long log.
 */
if (typeof document === 'undefined') startWorker()
else startPage(document.currentScript!.textContent)
