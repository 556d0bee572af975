//! OpenID Connect: discovery, the exchange of a code, and the verification of what it brings.

mod claims;
mod discovery;

use self::{
    claims::{Claims, Person},
    discovery::Discovery,
};
use super::{ExternalIdentity, Http, HttpError, Proof, ProviderError, Settings, refusal};
use openidconnect::{
    AsyncHttpClient, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, Client,
    ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, IdToken, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims, UserInfoError,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
        CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
        CoreTokenType,
    },
};
use policy::Time;
use secrecy::{ExposeSecret, SecretString};
use std::{
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
type Token = IdToken<Claims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Asker = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// One provider.
#[derive(Debug)]
pub(super) struct Oidc {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: SecretString,
    scopes: Vec<String>,
    group_claim: String,
    http: Http,
    discovery: Discovery,
}

impl Oidc {
    pub(super) fn new(settings: &Settings, issuer: IssuerUrl, http: Http) -> Self {
        Self {
            client_id: ClientId::new(settings.client_id.clone()),
            client_secret: settings.client_secret.clone(),
            scopes: settings.scopes.clone(),
            group_claim: settings.group_claim.clone(),
            discovery: Discovery::new(issuer.clone(), http.clone()),
            issuer,
            http,
        }
    }

    pub(super) async fn start(
        &self,
        redirect_uri: &str,
        state: &str,
        proof: &Proof,
        now: Time,
    ) -> Result<String, ProviderError> {
        let asker = self.asker(redirect_uri, now).await?;
        if asker.auth_uri().url().scheme() != self.issuer.url().scheme() {
            return Err(ProviderError::Malformed("its authorization endpoint is not https"));
        }
        let verifier = PkceCodeVerifier::new(proof.verifier.expose_secret().to_owned());
        let (state, nonce) = (CsrfToken::new(state.to_owned()), nonce(proof));
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let (url, _, _) = asker
            .authorize_url(flow, || state, || nonce)
            .add_scopes(self.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    pub(super) async fn complete(
        &self,
        code: &SecretString,
        issuer: &str,
        redirect_uri: &str,
        proof: &Proof,
        now: Time,
    ) -> Result<ExternalIdentity, ProviderError> {
        // RFC 9207: an answer that names another issuer was mixed up with another provider's.
        if !issuer.is_empty() && issuer != self.issuer.as_str() {
            return Err(ProviderError::NotVerified("it is of another issuer"));
        }
        let asker = self.asker(redirect_uri, now).await?;
        let tokens = self.exchange(&asker, code, proof).await?;
        let token = tokens.id_token().ok_or(ProviderError::Malformed("the exchange brought no ID token"))?;
        let claims = self.verify(&asker, token, redirect_uri, proof, now).await?;
        let mut person = Person::from_token(claims, &self.group_claim)?;
        if person.lacks_something() {
            person.add(self.user_info(&asker, &tokens, claims).await?, &self.group_claim)?;
        }
        person.identity()
    }

    async fn exchange(
        &self,
        asker: &Asker,
        code: &SecretString,
        proof: &Proof,
    ) -> Result<Tokens, ProviderError> {
        let request = asker
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .map_err(|_| ProviderError::Malformed("it has no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(proof.verifier.expose_secret().to_owned()));
        request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => refusal(said.error().as_ref()),
            RequestTokenError::Request(error) => error.into(),
            _ => ProviderError::Malformed("the exchange did not bring tokens"),
        })
    }

    /// The claims of an ID token that is from this provider, for us, for this sign-in, and in force.
    async fn verify<'t>(
        &self,
        asker: &Asker,
        token: &'t Token,
        redirect_uri: &str,
        proof: &Proof,
        now: Time,
    ) -> Result<&'t IdTokenClaims<Claims, CoreGenderClaim>, ProviderError> {
        let clock = move || instant(now).into();
        let first = token.claims(&asker.id_token_verifier().set_time_fn(clock), &nonce(proof));
        let Err(error) = first else { return first.map_err(|error| not_verified(&error)) };
        if !is_unknown_key(&error) {
            return Err(not_verified(&error));
        }
        let asker = self.client(self.discovery.renewed(now).await?, redirect_uri)?;
        let second = token.claims(&asker.id_token_verifier().set_time_fn(clock), &nonce(proof));
        second.map_err(|error| not_verified(&error))
    }

    async fn user_info(
        &self,
        asker: &Asker,
        tokens: &Tokens,
        claims: &IdTokenClaims<Claims, CoreGenderClaim>,
    ) -> Result<Option<UserInfoClaims<Claims, CoreGenderClaim>>, ProviderError> {
        let subject = Some(claims.subject().clone());
        let Ok(request) = asker.user_info(tokens.access_token().clone(), subject) else { return Ok(None) };
        let answer = request.request_async(&self.http).await.map_err(|error| match error {
            UserInfoError::Request(error) => error.into(),
            UserInfoError::ClaimsVerification(error) => not_verified(&error),
            UserInfoError::Response(status, _, _) if !status.is_success() => {
                ProviderError::Failed(status.as_u16())
            }
            _ => ProviderError::Malformed("its user info is not the JSON expected"),
        })?;
        Ok(Some(answer))
    }

    /// A client of the provider as it is known now.
    async fn asker(&self, redirect_uri: &str, now: Time) -> Result<Asker, ProviderError> {
        self.client(self.discovery.known(now).await?, redirect_uri)
    }

    fn client(&self, metadata: CoreProviderMetadata, redirect_uri: &str) -> Result<Asker, ProviderError> {
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| ProviderError::Malformed("the redirect address is not usable"))?;
        let secret = ClientSecret::new(self.client_secret.expose_secret().to_owned());
        let auth_type = auth_type(&metadata);
        let client = Client::from_provider_metadata(metadata, self.client_id.clone(), Some(secret));
        Ok(client.set_auth_type(auth_type).set_redirect_uri(redirect))
    }
}

/// How the provider wants the client secret: in a header, unless it only takes it in the body.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let methods = metadata.token_endpoint_auth_methods_supported();
    let only_body = methods.is_some_and(|methods| {
        methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
    });
    if only_body { AuthType::RequestBody } else { AuthType::BasicAuth }
}

fn nonce(proof: &Proof) -> Nonce {
    Nonce::new(proof.nonce.expose_secret().to_owned())
}

fn instant(now: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(now.micros()).unwrap_or(0))
}

fn is_unknown_key(error: &ClaimsVerificationError) -> bool {
    use SignatureVerificationError::{CryptoError, NoMatchingKey};
    matches!(error, ClaimsVerificationError::SignatureVerification(NoMatchingKey | CryptoError(_)))
}

/// What is wrong with a token, without what stands in it.
fn not_verified(error: &ClaimsVerificationError) -> ProviderError {
    ProviderError::NotVerified(match error {
        ClaimsVerificationError::Expired(_) => "it has expired",
        ClaimsVerificationError::InvalidAudience(_) => "it is for another client",
        ClaimsVerificationError::InvalidIssuer(_) => "it is of another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "it is of another sign-in",
        ClaimsVerificationError::InvalidSubject(_) => "it is about somebody else",
        ClaimsVerificationError::SignatureVerification(_) => "its signature is not valid",
        _ => "it is not understood",
    })
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
