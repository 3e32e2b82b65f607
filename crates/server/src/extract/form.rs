//! A page's form.

use axum::extract::{Form, FromRequest, Request};
use latchstring_model::{Code, Problem};
use serde::de::DeserializeOwned;

use crate::extract::body;
use crate::pages::frame::refused::Refused;

/// `application/x-www-form-urlencoded`, as a browser sends it.
pub struct Filled<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Filled<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let read = body::in_time(Form::<T>::from_request(request, state)).await?;
        read.map(|Form(form)| Self(form)).map_err(|_| {
            let what = "The form could not be read: a field is missing, or it is no form.";
            let problem =
                Problem::new(Code::BadRequest, what).hint("Load the page again and send the form as it is.");
            Box::new(problem).into()
        })
    }
}
