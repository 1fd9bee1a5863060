using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

/// <summary>TLS, certificates, users and passwords, on a Mosquitto with the files of deploy/mosquitto.</summary>
public sealed class BrokerSecurityTests
{
    [Fact]
    public async Task TlsUserAndPassword_LetTheNodeWork()
    {
        using var broker = new GuardedMosquitto();
        await using TestNode node = await TestNode.StartAsync(change: broker.Secure);
        await using Outsider person = await broker.ConnectAsync("operator", Outsider.Reply);
        await person.PublishAsync("request", """{"id":"a1","prompt":"hello"}""", Outsider.Reply);
        Assert.Equal("done", (await person.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
    }

    [Fact]
    public async Task ClientCertificate_IsTheUser()
    {
        using var broker = new GuardedMosquitto(wantCertificates: true);
        (string certificate, string key) = broker.MakeClientCertificate("kitchen");
        string together = broker.Write("together.pem", await File.ReadAllTextAsync(certificate, TestContext.Current.CancellationToken) + "\n" + await File.ReadAllTextAsync(key, TestContext.Current.CancellationToken));
        foreach ((string file, string? keyFile) in new[] { (certificate, key), (together, null) })
        {
            await using TestNode node = await TestNode.StartAsync(change: options => options with
            {
                Mqtt = options.Mqtt with { Broker = $"mqtts://127.0.0.1:{broker.TlsPort}", CaFile = broker.CaFile, ClientCertificateFile = file, ClientKeyFile = keyFile },
            });
            await using Outsider person = await broker.ConnectAsync("operator", Outsider.Reply);
            await person.PublishAsync("request", """{"prompt":"hello"}""", Outsider.Reply);
            Assert.Equal("done", (await person.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
        }
    }

    [Fact]
    public async Task ClientCertificateOfAnotherCa_IsRefused()
    {
        using var broker = new GuardedMosquitto(wantCertificates: true);
        (string certificate, string key) = broker.MakeClientCertificate("kitchen", GuardedMosquitto.MakeCa("Other CA"));
        string problem = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials { CaFile = broker.CaFile, ClientCertificateFile = certificate, ClientKeyFile = key });
        Assert.Contains($"mqtts://localhost:{broker.TlsPort}", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnlyTheNamedCa_IsBelieved()
    {
        using var broker = new GuardedMosquitto();
        string other = broker.Write("other.crt", GuardedMosquitto.MakeCa("Other CA").ExportCertificatePem());
        string wrong = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials { CaFile = other });
        Assert.Contains($"'CN=broker' was not issued by a root in {other}", wrong, StringComparison.Ordinal);
        string none = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials());
        Assert.Contains("Mqtt:CaFile", none, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CertificateOfAnotherHost_IsRefused()
    {
        using var broker = new GuardedMosquitto(host: "broker.example");
        string problem = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials { CaFile = broker.CaFile });
        Assert.Contains("'CN=broker' is not for the host localhost", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ExpiredCertificate_IsRefused()
    {
        using var broker = new GuardedMosquitto(validDays: 0);
        string problem = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials { CaFile = broker.CaFile });
        Assert.Contains($"to {DateTime.Now.AddDays(-1):yyyy-MM-dd} only", problem, StringComparison.Ordinal);
        Assert.Contains("Renew", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WrongPassword_IsRefused_AndNamesTheUser()
    {
        using var broker = new GuardedMosquitto();
        string file = broker.Write("wrong", "guess\n");
        string problem = await RefusalAsync(new BrokerAddress("localhost", broker.TlsPort, true), new BrokerCredentials { CaFile = broker.CaFile, User = "kitchen", PasswordFile = file });
        Assert.Contains("password of user 'kitchen'", problem, StringComparison.Ordinal);
        Assert.DoesNotContain("guess", problem, StringComparison.Ordinal);
        Assert.Contains("wants a user", await RefusalAsync(new BrokerAddress("127.0.0.1", broker.Broker.Port), new BrokerCredentials()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task BrokerWithoutTls_IsRefused()
    {
        using var broker = new Mosquitto();
        string problem = await RefusalAsync(new BrokerAddress("127.0.0.1", broker.Port, true), new BrokerCredentials());
        Assert.Contains($"mqtts://127.0.0.1:{broker.Port}", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EmbeddedBroker_AsksForThePassword_WhereOneIsConfigured()
    {
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "secret", TestContext.Current.CancellationToken);
        await using TestNode node = await TestNode.StartAsync(change: options => options with { Mqtt = options.Mqtt with { EmbeddedAddress = "0.0.0.0", User = "kitchen", PasswordFile = file } });
        await using (Outsider known = await Outsider.ConnectAsAsync(node.Port, "kitchen", "secret", Outsider.Reply))
        {
            await known.PublishAsync("request", """{"prompt":"hello"}""", Outsider.Reply);
            Assert.Equal("done", (await known.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
        }

        Assert.Contains("wants a user", await RefusalAsync(node.Options.Mqtt.Address, new BrokerCredentials()), StringComparison.Ordinal);
        await File.WriteAllTextAsync(file, "Secret", TestContext.Current.CancellationToken);
        Assert.Contains("'kitchen'", await RefusalAsync(node.Options.Mqtt.Address, new BrokerCredentials { User = "kitchen", PasswordFile = file }), StringComparison.Ordinal);
        File.Delete(file);
    }

    private static async Task<string> RefusalAsync(BrokerAddress address, BrokerCredentials credentials)
    {
        string message = (await Assert.ThrowsAsync<BrokerUnavailableException>(() => PromptClient.ConnectAsync(address, credentials, TestContext.Current.CancellationToken))).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }
}
