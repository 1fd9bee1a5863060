using System.Security.Authentication;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>The broker's certificate proves nothing.</summary>
internal sealed class CertificateRefusedException(string reason, string hint) : AuthenticationException(reason)
{
    /// <summary>What to do about it.</summary>
    public string Hint { get; } = hint;
}
