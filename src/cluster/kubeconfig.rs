//! Finding the kubeconfig and the context, with errors that say what is there.
