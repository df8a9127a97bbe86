"""One file a framework: a model of it as a `Subject`"""
