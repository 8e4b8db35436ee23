console.table(await (await import(`./${process.argv[2]}.js`)).run())
