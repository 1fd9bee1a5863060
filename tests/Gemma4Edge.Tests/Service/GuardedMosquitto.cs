using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Gemma4Edge.Service;

namespace Gemma4Edge.Tests.Service;

/// <summary>A Mosquitto that runs with the files of deploy/mosquitto, but for ports and folders; certificates and passwords are made here.</summary>
internal sealed class GuardedMosquitto : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-").FullName;
    private readonly X509Certificate2 _ca;

    /// <param name="validDays">How long the broker's certificate is valid from yesterday on.</param>
    /// <param name="host">The one name in it, beside 127.0.0.1; null = localhost.</param>
    /// <param name="wantCertificates">Whether clients prove themselves by certificates.</param>
    /// <param name="acl">Changes the access rules.</param>
    public GuardedMosquitto(int validDays = 30, string? host = null, bool wantCertificates = false, Func<string, string>? acl = null)
    {
        string deployed = Path.Combine(TestData.Root, "deploy", "mosquitto");
        Directory.CreateDirectory(InFolder("certs"));
        Directory.CreateDirectory(InFolder("db"));
        _ca = MakeCa("Home CA");
        File.WriteAllText(CaFile, _ca.ExportCertificatePem());
        MakeCertificate(_ca, "broker", "certs/broker", host, validDays);
        WriteAcl((acl ?? (rules => rules))(File.ReadAllText(Path.Combine(deployed, "acl"))));
        Write("passwords", "");
        foreach (string user in new[] { "kitchen", "office", "homeassistant", "operator", "panel" })
        {
            Run("/usr/bin/mosquitto_passwd", "-b", InFolder("passwords"), user, PasswordOf(user));
        }

        TlsPort = Mosquitto.FreePort();
        string config = File.ReadAllText(Path.Combine(deployed, "mosquitto.conf"))
            .Replace("/etc/mosquitto/", $"{_folder}/", StringComparison.Ordinal)
            .Replace("/var/lib/mosquitto/", $"{InFolder("db")}/", StringComparison.Ordinal)
            .Replace("listener 8883", $"listener {TlsPort} 127.0.0.1", StringComparison.Ordinal);
        if (wantCertificates)
        {
            config = config.Replace("#require_certificate", "require_certificate", StringComparison.Ordinal).Replace("#use_identity", "use_identity", StringComparison.Ordinal);
        }

        Broker = new Mosquitto(port => config.Replace("listener 1883", $"listener {port}", StringComparison.Ordinal));
    }

    public Mosquitto Broker { get; }

    public int TlsPort { get; }

    public string CaFile => InFolder("certs/ca.crt");

    /// <summary>A file with the password of one of its users.</summary>
    public string PasswordFileOf(string user) => Write($"{user}.password", PasswordOf(user));

    /// <summary>A file in its folder.</summary>
    public string Write(string name, string text)
    {
        File.WriteAllText(InFolder(name), text);
        return InFolder(name);
    }

    /// <summary>A certificate from its CA, or from another: files NAME.crt and NAME.key.</summary>
    public (string Certificate, string Key) MakeClientCertificate(string user, X509Certificate2? ca = null)
    {
        MakeCertificate(ca ?? _ca, user, $"certs/{user}", null, 30);
        return (InFolder($"certs/{user}.crt"), InFolder($"certs/{user}.key"));
    }

    public void WriteAcl(string rules) => Write("acl", rules);

    /// <summary>A CA that nothing here comes from.</summary>
    public static X509Certificate2 MakeCa(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, critical: true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-400), DateTimeOffset.UtcNow.AddDays(400));
    }

    /// <summary>A node's options for it: TLS, its CA, user and password.</summary>
    public ServiceOptions Secure(ServiceOptions options) => options with
    {
        Mqtt = options.Mqtt with
        {
            Broker = $"mqtts://localhost:{TlsPort}",
            CaFile = CaFile,
            User = options.Mqtt.Node,
            PasswordFile = PasswordFileOf(options.Mqtt.Node),
        },
    };

    /// <summary>A client on loopback with a user's rights.</summary>
    public Task<Outsider> ConnectAsync(string user, params string[] topics) => Outsider.ConnectAsAsync(Broker.Port, user, PasswordOf(user), topics);

    public void Dispose()
    {
        Broker.Dispose();
        _ca.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static string PasswordOf(string user) => $"{user}'s secret";

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private string InFolder(string name) => Path.Combine(_folder, name);

    private void MakeCertificate(X509Certificate2 ca, string commonName, string file, string? host, int validDays)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={commonName}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(host ?? "localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset from = DateTimeOffset.UtcNow.AddDays(-100);
        using X509Certificate2 certificate = request.Create(ca, from, from.AddDays(99 + validDays), Guid.NewGuid().ToByteArray());
        Write($"{file}.crt", certificate.ExportCertificatePem());
        Write($"{file}.key", key.ExportPkcs8PrivateKeyPem());
    }
}
