/** All of it in one process, so that the tests share their gateways as they share a real engine. */

import './answers.js'
import './embeddings.js'
import './errors.js'
import './files.js'
import './batches.js'
import './tools.js'
import './responses.js'
import './load.js'
