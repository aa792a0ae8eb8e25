//! Nothing: this package only names its dependencies.
