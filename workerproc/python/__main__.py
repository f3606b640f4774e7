"""Entry point: `python3 <this directory>` runs one worker. Kept readable for interpreters that are too old to serve."""

import sys

if sys.version_info < (3, 9):
    sys.exit("charmer needs Python 3.9 or newer; %s is %s" % (sys.executable, sys.version.split()[0]))

if __name__ == "__main__":  # multiprocessing's spawn imports this file under another name
    from charmer._worker import main

    main()
