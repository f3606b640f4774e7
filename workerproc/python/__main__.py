"""Entry point: `python3 <this directory>` runs one worker, with the argument `zygote` a process that forks workers.

Kept readable for interpreters that are too old to serve.
"""

import sys

if sys.version_info < (3, 9):
    sys.exit("charmer needs Python 3.9 or newer; %s is %s" % (sys.executable, sys.version.split()[0]))

if __name__ == "__main__":  # multiprocessing's spawn imports this file under another name
    if sys.argv[1:] == ["zygote"]:
        from charmer._zygote import main
    else:
        from charmer._worker import main

    main()
