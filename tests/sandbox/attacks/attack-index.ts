// Which test tries what: every row of "what an attacker may try", with the attacks on it and what answers. Kept whole by
// attack-index.test.ts: an attack that is named here and does not exist, or stands under attacks/ and is not named, fails it.

export interface AttackRow {
  /** What an attacker may try. */
  attempt: string
  /** What answers. */
  answer: string
  /** Names of tests, by file. */
  tests: Record<string, string[]>
}

export const ATTACKS: readonly AttackRow[] = [
  {
    attempt: 'import something else, a start function that runs at link time, huge tables, threads, unknown sections',
    answer: 'admission refuses, with section and byte offset',
    tests: {
      'tests/host/sandbox/admit.test.ts': [
        'an import of another namespace',
        'an import that does not exist',
        'an import named as in every object',
        'an import of another signature',
        'a clock without permission',
        'an imported memory',
        'an imported table',
        'an imported global',
        'a start function',
        'a shared memory',
        'a memory of 4 GiB',
        'a table of a million',
        'atomics',
        'exceptions',
        'a tail call',
        'a table write',
        'a section of id 14',
        'a section twice',
        'sections out of order',
        'a section size of 2^32 − 1',
        'a count of 2^32 − 1 functions',
        'an unknown instruction',
      ],
      'tests/sandbox/attacks/guests.test.ts': [
        'an import exported as a function of the ABI is refused, or answers for itself',
        'names of every object, and names like those that admission adds',
      ],
      'tests/sandbox/attacks/attacks.test.ts': [
        'writing the fuel by its index is refused, by its name too',
        "overwriting a register that holds fuel is refused where it is not the module's",
        'a decompression bomb of locals is compiled within limits or refused',
        'a module of many functions that each call all is admitted or refused quickly enough to test it',
        'table calls of one type by thousands of functions make no product of edges',
        'what is small when it is pushed does not become large where it is kept',
      ],
      'tests/host/pipeline/admissions.test.ts': [
        'leave the control thread to others while a hostile module is read',
        'end what takes longer than the limit, and go on with the next',
      ],
    },
  },
  {
    attempt: 'endless loop, exponential work, deep recursion',
    answer: 'fuel and call depth; a call that takes longer than a slice is made apart from its neighbours',
    tests: {
      'tests/sandbox/attacks/attacks.test.ts': [
        'an endless loop',
        'an endless loop with an empty body and a conditional branch',
        'an endless loop in a block in a loop',
        'an endless loop of a branch table',
        'a loop that carries a value round',
        'an endless loop at the top level',
        'functions that each call the next twice: a small module, exponential work, no loop',
        'the same through the table',
        'small functions that are folded into their callers, in a loop',
        'a recursion without end',
        'a mutual recursion',
        'a recursion through the table',
        'a recursion with frames as large as may be',
        'a chain of large frames without recursion',
        'a return from everywhere leaves the depth as it was',
        'a memory filled over and over',
        'a memory copied over and over',
        'a length of 2^32 − 1 that would wrap the fuel around',
        'work behind every look at the fuel does not wrap it around',
        'calls out of the sandbox without end',
        'a call costs the same fuel every time, and what the sum of its parts is',
        'a table call out of range traps and costs no more than itself',
      ],
      'tests/sandbox/attacks/guests.test.ts': [
        'process that calls itself, flush, configure and allocate again from within',
        'settings without end refuse the creation',
        'settings without end of what runs are read away from its neighbours, and leave it as it was',
        'regions made without end are made away from the worker, once for each record',
      ],
      'tests/host/compute/trial.test.ts': [
        'are where a record without end is stopped: it alone is a dead letter',
        'leave the worker to others: it never runs longer than a slice',
      ],
    },
  },
  {
    attempt: 'allocate without end',
    answer: 'a maximum written into the memory at admission',
    tests: {
      'tests/sandbox/attacks/attacks.test.ts': ['memory without end', 'memory by four billion pages'],
      'tests/sandbox/attacks/guests.test.ts': [
        'memory that grows with every record until its bound',
        'memory that grows much in one call does so away from the worker, and a little right here',
        'memory that grows in the middle of a handing over, and again after it',
        'memory that grows much at the start, or with settings, does so away from the worker',
      ],
    },
  },
  {
    attempt: 'emit without end',
    answer: 'OUTPUT_EXCEEDED, whoever listens',
    tests: {
      'tests/sandbox/attacks/guests.test.ts': [
        'output without end for a port that nobody listens to',
        'output that is much for one call is made away from the worker, and is the same',
        'output at the start, from settings and from making regions leads nowhere',
      ],
      'tests/host/compute/instance.test.ts': [
        'by handing over again and again the same bytes is bounded by its output',
      ],
    },
  },
  {
    attempt: 'write logs without end',
    answer: 'lines capped in length and number, the rest counted and not read',
    tests: {
      'tests/sandbox/attacks/guests.test.ts': [
        'a log without end, of the longest lines: a few are kept, none is read in vain',
        'the same through the table costs as much',
        'a rejection without end: of one record one letter',
      ],
      'tests/manager/cli.test.ts': ['what is printed steers no terminal, and JSON stays what it was'],
      'tests/host/compute/pipeline.test.ts': ['lines of a guest’s log are bounded, and what is dropped is told'],
    },
  },
  {
    attempt: "read another instance's data",
    answer: 'no shared memory; regions are copied; pointers are clamped',
    tests: {
      'tests/sandbox/attacks/guests.test.ts': [
        'pointers out of range, to every import that takes some',
        'a memory handed over as a whole, as output',
      ],
      'tests/sandbox/attacks/attacks.test.ts': ['a data segment dropped and used again has the same bytes'],
      'tests/host/compute/instance.test.ts': ['about its mailbox or its regions cannot start'],
    },
  },
  {
    attempt: 'corrupt frames in the output region',
    answer: 'every frame is checked before it enters a ring',
    tests: {
      'tests/host/compute/instance.test.ts': [
        'about a frame of its output has its record called poison, and nothing of it leaves',
        'about what it consumed faults',
        'by writing over its input loses nobody’s place in it',
        'by rejecting what is no record, or one record often, rejects each once at most',
      ],
      'tests/sandbox/attacks/guests.test.ts': [
        'output from memory that grew under the view of the host is read where it is',
        'a mailbox moved outside by a call is that operator’s own end',
        'regions moved outside by a call that returns well are that call’s fault, not of the undo behind it',
        'an image that is none ends its own start, not the thread that tries starts',
      ],
      'tests/host/isolation/relay.test.ts': [
        'refuses what a reader of the ring would stumble over',
        'refuses headers that do not fill their place',
      ],
    },
  },
  {
    attempt: 'read or write topics, files, addresses, secrets of others',
    answer: 'permissions and namespaces, at creation and at use',
    tests: {
      'tests/sandbox/attacks/http/tenants.test.ts': [
        'no operation reads or changes what is another tenant’s',
        'no spelling of a path leads into another tenant',
        'documents reach neither topics, nor operators, nor secrets of others',
      ],
      'tests/sandbox/attacks/http/quotas.test.ts': [
        'state of another tenant under the same names',
        'a consumer group of the same name, over a topic that both were granted',
        'modules of others by their digest, and a module of one’s own that is another’s too',
        'their tokens open nothing, not even for the next of that name, and nothing is left for it',
      ],
      'tests/manager/tenants/names.test.ts': [
        'default sees neither topics nor groups that begin with a tenant and a dot',
        'a pipeline of default that is called as a tenant keeps its own topics to itself',
      ],
      'tests/host/bridges/http-emitter.test.ts': ['what the other side repeats of what it was sent is not shown'],
      'tests/manager/tenants/secrets.test.ts': ['a secret stands where it is handed on alone, and must be there'],
      'tests/host/permissions/permissions.test.ts': [
        'links and `..` behind links do not escape',
        'never a path outside, whatever the spelling',
        'what the product keeps for all tenants is opened by no flag, no grant and no link',
        'a tenant is not told where the links of the machine lead',
      ],
    },
  },
  {
    attempt: 'reach internal addresses through an HTTP emitter (SSRF)',
    answer: 'addresses are resolved, checked, and those that were checked are connected to',
    tests: {
      'tests/host/permissions/permissions.test.ts': [
        'every spelling of an internal address is the same address, and denied',
        'a name leads inside only where it is named in full',
        'a request connects to the addresses that were checked',
      ],
      'tests/host/bridges/http-emitter.test.ts': [
        'does not follow a redirect',
        'addresses that are not permitted, when it opens',
      ],
    },
  },
  {
    attempt: 'fill the manager: huge bodies, deep JSON, many pipelines, regex or YAML bombs',
    answer: 'limits of size and depth, linear-time patterns, quotas, rates',
    tests: {
      'tests/sandbox/attacks/http/requests.test.ts': [
        'each is refused in its own words, and the manager goes on',
        'patterns and conditions that would take for ever are refused or run in linear time',
        'no body reaches what is behind every object',
        'queries that are none are refused',
      ],
      'tests/sandbox/attacks/http/quotas.test.ts': [
        'memory that is asked for little by little: by PUT, by another module, by a fork, by a resume',
        'a quota, a grant, a tenant or a token that the tenant itself would give',
        'savepoints without end',
      ],
      'tests/manager/compiler.test.ts': [
        'a source that is too much for the compiler is refused, and nothing else ends',
      ],
      'tests/manager/tenants/quotas.test.ts': [
        'pipelines are counted, also those that are asked for at once',
        'operators and compiler time are bounded',
        'bytes in topics are bounded at produce and ingest',
      ],
      'tests/sandbox/attacks/http/tenants.test.ts': [
        'more requests than a tenant may make are refused, and cost nobody else',
      ],
    },
  },
  {
    attempt: 'guess tokens, cross-site requests to a local manager',
    answer: 'hashes, constant time, one answer for every wrong one; Host and Origin are checked',
    tests: {
      'tests/sandbox/attacks/http/tenants.test.ts': [
        'every bent token is refused with the same words',
        'a token counts in its header alone, and in one form',
      ],
      'tests/sandbox/attacks/http/requests.test.ts': [
        'a request within a request is refused or read as a body, never answered as one',
        'requests on one connection are each judged by their own token',
        'an absolute target, odd methods and versions lead nowhere else',
        'a name that is not loopback, or only looks like it, is refused',
        'no answer lets a page of another origin read it, and none redirects away',
        'with tokens too, pages of other origins are refused',
      ],
      'tests/manager/tenants/cli.test.ts': ['a token that cannot be one is not shown'],
      'tests/manager/tenants/tokens.test.ts': [
        'an open stream ends with the token that opened it',
        'a token ends at its time, and is not made for a time that is over',
      ],
    },
  },
  {
    attempt: 'crash V8 itself',
    answer: 'isolation: process',
    tests: {
      'tests/host/isolation/isolation.test.ts': [
        'the process has no environment, and no descriptor but its pipe that leads anywhere',
        'killed at any moment: none lost, none doubled, the state right, neighbours go on',
        'one that ends again and again fails its pipelines; they can be resumed',
      ],
      'tests/host/isolation/relay.test.ts': [
        'ends a process that sends more than its credit, and more parts than a message has',
        'ends a process that goes on with a message for ever',
        'ends a process that says without end that a pipeline failed',
        'ends a process that fills a tap with nothing',
        'any message: it is one, or refused',
      ],
    },
  },
]
