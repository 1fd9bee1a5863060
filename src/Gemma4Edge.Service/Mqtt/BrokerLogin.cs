using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using MQTTnet;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What <see cref="BrokerCredentials"/> name, read from its files and checked.</summary>
internal sealed class BrokerLogin
{
    private readonly BrokerAddress _address;
    private readonly BrokerCredentials _credentials;
    private readonly X509Certificate2Collection? _roots;
    private readonly X509Certificate2? _client;

    /// <exception cref="ConfigurationException">A file cannot be read or holds something else; the message names its key.</exception>
    private BrokerLogin(BrokerAddress address, BrokerCredentials credentials)
    {
        _address = address;
        _credentials = credentials;
        Password = credentials.PasswordFile is { } file ? ReadPassword(file) : null;
        if (address.Tls)
        {
            Tls.ThrowIfAbsent(address);
            _roots = credentials.CaFile is { } ca ? ReadRoots(ca) : null;
            _client = credentials.ClientCertificateFile is { } certificate ? ReadClientCertificate(certificate) : null;
        }

        ThrowIfUseless(nameof(credentials.CaFile), credentials.CaFile, address.Tls, $"the broker {address} is reached without TLS; use mqtts://, or leave it out");
        ThrowIfUseless(nameof(credentials.ClientCertificateFile), credentials.ClientCertificateFile, address.Tls, $"the broker {address} is reached without TLS; use mqtts://, or leave it out");
        ThrowIfUseless(
            nameof(credentials.ClientKeyFile), credentials.ClientKeyFile, credentials.ClientCertificateFile is not null,
            $"there is no certificate to it; give {Name(nameof(credentials.ClientCertificateFile))}, too");
        ThrowIfUseless(nameof(credentials.PasswordFile), credentials.PasswordFile, credentials.User is not null, $"there is no user to it; give {Name(nameof(credentials.User))}, too");
    }

    /// <summary>The password; null = none was given.</summary>
    public string? Password { get; }

    /// <summary>Reads and checks every file.</summary>
    /// <exception cref="ConfigurationException">A file cannot be read or holds something else; the message names its key.</exception>
    public static BrokerLogin Read(BrokerAddress address, BrokerCredentials credentials) => new(address, credentials);

    /// <summary>Adds everything to the options of a connection.</summary>
    public void AddTo(MqttClientOptionsBuilder builder)
    {
        if (_credentials.User is { } user)
        {
            builder.WithCredentials(user, Password ?? "");
        }

        if (_address.Tls)
        {
            builder.WithTlsOptions(tls =>
            {
                tls.UseTls().WithTargetHost(_address.Host).WithRevocationMode(X509RevocationMode.NoCheck).WithCertificateValidationHandler(IsBelieved);
                _ = _roots is null ? tls : tls.WithTrustChain(_roots);
                _ = _client is null ? tls : tls.WithClientCertificates([_client]);
            });
        }
    }

    /// <exception cref="CertificateRefusedException">It is not; a bare false would hide why.</exception>
    private bool IsBelieved(MqttClientCertificateValidationEventArgs e)
    {
        if (e.SslPolicyErrors == SslPolicyErrors.None)
        {
            return true;
        }

        var certificate = e.Certificate as X509Certificate2;
        X509ChainStatusFlags flaws = (e.Chain?.ChainStatus ?? []).Aggregate(X509ChainStatusFlags.NoError, (all, status) => all | status.Status);
        string ca = Name(nameof(BrokerCredentials.CaFile));
        throw e.SslPolicyErrors switch
        {
            SslPolicyErrors.RemoteCertificateNotAvailable => new CertificateRefusedException("it shows no certificate", "Give it one, or use mqtt:// where the network is trusted."),
            _ when flaws.HasFlag(X509ChainStatusFlags.NotTimeValid) => new CertificateRefusedException(
                FormattableString.Invariant($"its certificate is valid from {certificate?.NotBefore:yyyy-MM-dd} to {certificate?.NotAfter:yyyy-MM-dd} only, and today is {DateTime.Now:yyyy-MM-dd}"),
                "Renew the broker's certificate, or set this machine's clock."),
            _ when e.SslPolicyErrors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) => new CertificateRefusedException(
                $"its certificate '{certificate?.Subject}' was not issued by {(_credentials.CaFile is { } file ? $"a root in {file}" : "a root that this system trusts")} ({flaws})",
                $"Name the root's PEM file in {ca}."),
            _ => new CertificateRefusedException(
                $"its certificate '{certificate?.Subject}' is not for the host {_address.Host}",
                "Use a host name that the certificate lists, or issue it for this one (subjectAltName)."),
        };
    }

    private string ReadPassword(string file)
    {
        string password = Read(nameof(BrokerCredentials.PasswordFile), file, "a file with the password on its first line", path => File.ReadLines(path).FirstOrDefault(""));
        return password.Length > 0 ? password : throw Wrong(nameof(BrokerCredentials.PasswordFile), file, "its first line is empty", "a file with the password on its first line");
    }

    private X509Certificate2Collection ReadRoots(string file)
    {
        const string Expected = "a PEM file with the certificate of the broker's CA";
        X509Certificate2Collection roots = Read(nameof(BrokerCredentials.CaFile), file, Expected, path =>
        {
            var read = new X509Certificate2Collection();
            read.ImportFromPemFile(path);
            return read;
        });
        return roots.Count > 0 ? roots : throw Wrong(nameof(BrokerCredentials.CaFile), file, "it holds no certificate", Expected);
    }

    private X509Certificate2 ReadClientCertificate(string file)
    {
        const string Certificate = nameof(BrokerCredentials.ClientCertificateFile);
        string keyName = _credentials.ClientKeyFile is null ? Certificate : nameof(BrokerCredentials.ClientKeyFile);
        string keyFile = _credentials.ClientKeyFile ?? file;
        string pem = Read(Certificate, file, "a PEM file with the client's certificate", File.ReadAllText);
        string key = Read(keyName, keyFile, "a PEM file with the certificate's key", File.ReadAllText);
        Read(Certificate, file, "a PEM file with the client's certificate", _ => X509Certificate2.CreateFromPem(pem)).Dispose();
        return Read(keyName, keyFile, $"the unencrypted PEM key of the certificate in {file}", _ => X509Certificate2.CreateFromPem(pem, key));
    }

    private T Read<T>(string property, string file, string expected, Func<string, T> read)
    {
        try
        {
            return read(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException)
        {
            throw Wrong(property, file, e.Message, expected, e);
        }
    }

    private void ThrowIfUseless(string property, string? value, bool needed, string problem)
    {
        if (value is not null && !needed)
        {
            throw new ConfigurationException($"{Name(property)} is '{value}', but {problem}.");
        }
    }

    private string Name(string property) => _credentials.NameOf(property);

    private ConfigurationException Wrong(string property, string file, string problem, string expected, Exception? cause = null) =>
        new($"{Name(property)} is '{file}': {problem.TrimEnd('.')}; expected is {expected}.", cause);
}
