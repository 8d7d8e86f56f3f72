"""The old way of recounting, as a web app would have it: all truth into memory, then the key made anew.

It prints as JSON how long it took, without the start of Python, and the error that ended it if one did.
"""

import argparse
import json
import time

import pymysql
import redis
import sqlalchemy
from sqlalchemy import BigInteger, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class UserStats(Base):
    __tablename__ = "user_stats"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    articles: Mapped[int]


def main():
    options = arguments()
    begin, error = time.monotonic(), None
    try:
        recount(options)
    except redis.RedisError as failure:
        error = f"{type(failure).__name__}: {failure}"
    seconds = time.monotonic() - begin
    versions = f"SQLAlchemy {sqlalchemy.__version__}, PyMySQL {pymysql.__version__}, redis-py {redis.__version__}"
    print(json.dumps({"seconds": seconds, "error": error, "versions": versions}))


def recount(options):
    engine = create_engine(options.mysql.replace("mysql://", "mysql+pymysql://"))
    # As the library has it: since redis-py 8 that is a time-out of 5 s and ten retries.
    patience = {"socket_timeout": None} if options.patient else {}
    store = redis.Redis(port=options.port, **patience)
    with Session(engine) as session:
        rows = session.query(UserStats.user_id, UserStats.articles).all()
    pipe = store.pipeline(transaction=True)
    pipe.delete(options.key)
    pipe.zadd(options.key, {row.user_id: row.articles for row in rows})
    pipe.execute()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mysql", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--patient", action="store_true", help="no time-out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
