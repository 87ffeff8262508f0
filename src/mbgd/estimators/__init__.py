"""The scikit-learn door: estimators whose `fit` calls the functions of the desk; scikit-learn itself is an optional extra."""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("the estimators need scikit-learn, which is not installed; pip install 'mbgd[sklearn]'")
